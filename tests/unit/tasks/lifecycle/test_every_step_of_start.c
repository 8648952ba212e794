/* Starts and recoveries, disturbed at every step by all that can come in between. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/every_step.h"

/* What is freed is kept for a few runs, not for hundreds: each fork copies the tables of it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=2";
}

static struct asked *begin_start(struct driver_fixture *f)
{
    return driver_fixture_start(f, NULL);
}

static void test_every_step_of_a_start(void **state)
{
    (void)state;
    every_step(begin_start);
}

static void test_every_step_of_a_start_with_what_is_refused(void **state)
{
    (void)state;
    every_step_refused(begin_start);
}

static struct asked *begin_boot(struct driver_fixture *f)
{
    return driver_fixture_start(f, "'boot': true, 'console': 'pipe'");
}

static void test_every_step_of_a_boot(void **state)
{
    (void)state;
    every_step(begin_boot);
}

static struct asked *begin_recovery(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    return driver_fixture_recover(f);
}

static void test_every_step_of_a_recovery(void **state)
{
    (void)state;
    every_step(begin_recovery);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERY_STEP_TEST(test_every_step_of_a_start),
        EVERY_STEP_TEST(test_every_step_of_a_start_with_what_is_refused),
        EVERY_STEP_TEST(test_every_step_of_a_boot),
        EVERY_STEP_TEST(test_every_step_of_a_recovery),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
