#include "reactor/clock.h"

#include <assert.h>

uint64_t clock_now_usec(clockid_t clock)
{
    struct timespec now;

    int r = clock_gettime(clock, &now);
    assert(r == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
