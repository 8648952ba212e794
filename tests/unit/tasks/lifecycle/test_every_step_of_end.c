/* Stops, ends and removals, disturbed at every step by all that can come in between. */
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

static struct asked *begin_stop(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    (void)driver_fixture_wait(f);
    return driver_fixture_stop(f, 20 * UINT64_C(1000000), NULL);
}

static void test_every_step_of_a_stop(void **state)
{
    (void)state;
    every_step(begin_stop);
}

static struct asked *begin_end(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_let_go(f, "3");
    return driver_fixture_wait(f);
}

static void test_every_step_of_an_end(void **state)
{
    (void)state;
    every_step(begin_end);
}

static struct asked *begin_removal(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    return driver_fixture_destroy(f, false);
}

static void test_every_step_of_a_removal(void **state)
{
    (void)state;
    every_step(begin_removal);
}

/* Of a task that no plugin knows. */
static struct asked *begin_lost_removal(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    return driver_fixture_destroy(f, false);
}

static void test_every_step_of_a_removal_of_what_nobody_knows(void **state)
{
    (void)state;
    every_step(begin_lost_removal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERY_STEP_TEST(test_every_step_of_a_stop),
        EVERY_STEP_TEST(test_every_step_of_an_end),
        EVERY_STEP_TEST(test_every_step_of_a_removal),
        EVERY_STEP_TEST(test_every_step_of_a_removal_of_what_nobody_knows),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
