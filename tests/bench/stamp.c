/* Prints when its first instructions ran: nanoseconds of CLOCK_MONOTONIC, which all containers of a
 * host have in common. */
#include <stdio.h>
#include <time.h>

int main(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    return 0;
}
