#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "reactor/clock.h"
#include "tests/support/fd_leak.h"

/* The kernel's own figure, taken before and after, encloses it: so the unit and the clock are
 * right. */
static void expect_within(clockid_t clock)
{
    struct timespec before, after;

    assert_int_equal(clock_gettime(clock, &before), 0);
    uint64_t now = clock_now_usec(clock);
    assert_int_equal(clock_gettime(clock, &after), 0);
    assert_true(now >= (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000);
    assert_true(now <= (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000);
}

static void test_time_is_that_of_the_clock_that_was_asked_for(void **state)
{
    (void)state;
    expect_within(CLOCK_MONOTONIC);
    expect_within(CLOCK_REALTIME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_time_is_that_of_the_clock_that_was_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
