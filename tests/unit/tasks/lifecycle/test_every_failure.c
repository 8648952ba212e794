/* Start, stop, recovery and removal with each of their calls to the bus failing once. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdlib.h>

#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

static unsigned at; /* 0: no run is under way */

static int teardown(void **state)
{
    if (at > 0)
        print_error("call %u had failed\n", at);
    at = 0;
    return fd_leak_teardown(state);
}

static struct driver_fixture *begin(void)
{
    struct driver_fixture *f = driver_fixture_new();

    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true });
    event_run_pending(f->event);
    return f;
}

/* The calls from here on. */
static unsigned fail_nth(struct driver_fixture *f, unsigned n)
{
    at = n;
    fake_bus_fail_nth(f->fake, n);
    return fake_bus_n_calls(f->fake, NULL);
}

/* What failed may have been the removal: it is asked for again, as Nomad does. */
static unsigned end(struct driver_fixture *f, unsigned n_before)
{
    unsigned n_calls = fake_bus_n_calls(f->fake, NULL) - n_before;

    fake_bus_fail_nth(f->fake, 0);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    event_run_pending(f->event);
    driver_fixture_free(f);
    at = 0;
    return n_calls;
}

static unsigned start(unsigned n)
{
    struct driver_fixture *f = begin();
    unsigned n_before = fail_nth(f, n);

    driver_fixture_await(f, driver_fixture_start(f, NULL));
    return end(f, n_before);
}

static unsigned boot(unsigned n)
{
    struct driver_fixture *f = begin();
    unsigned n_before = fail_nth(f, n);

    driver_fixture_await(f, driver_fixture_start(f, "'boot': true, 'console': 'pipe'"));
    return end(f, n_before);
}

static unsigned stop(unsigned n)
{
    struct driver_fixture *f = begin();

    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    unsigned n_before = fail_nth(f, n);
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, driver_fixture_stop(f, 20000000, NULL));
    driver_fixture_await(f, wait);
    return end(f, n_before);
}

static unsigned recover(unsigned n)
{
    struct driver_fixture *f = begin();

    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    unsigned n_before = fail_nth(f, n);
    driver_fixture_await(f, driver_fixture_recover(f));
    return end(f, n_before);
}

/* Where the slice's stop failed it is left, empty, and goes with the next start of the task. */
static unsigned end_removal(struct driver_fixture *f, unsigned n_before)
{
    unsigned n_calls = fake_bus_n_calls(f->fake, NULL) - n_before;

    fake_bus_fail_nth(f->fake, 0);
    assert_int_equal(fake_systemd_n_units(f->systemd), 0);
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    (void)end(f, n_before);
    return n_calls;
}

static unsigned remove_ended(unsigned n)
{
    struct driver_fixture *f = begin();

    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    unsigned n_before = fail_nth(f, n);
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    return end_removal(f, n_before);
}

static unsigned remove_lost(unsigned n)
{
    struct driver_fixture *f = begin();

    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    event_run_pending(f->event);
    unsigned n_before = fail_nth(f, n);
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    return end_removal(f, n_before);
}

static unsigned end_and_wait(unsigned n)
{
    struct driver_fixture *f = begin();

    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    unsigned n_before = fail_nth(f, n);
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    return end(f, n_before);
}

static void expect_failures(unsigned (*scenario)(unsigned n))
{
    assert_true(fake_bus_every_failure(scenario) > 0);
}

static void test_every_call_of_a_start_fails(void **state)
{
    (void)state;
    expect_failures(start);
}

static void test_every_call_of_a_boot_fails(void **state)
{
    (void)state;
    expect_failures(boot);
}

static void test_every_call_of_a_stop_fails(void **state)
{
    (void)state;
    expect_failures(stop);
}

static void test_every_call_of_a_recovery_fails(void **state)
{
    (void)state;
    expect_failures(recover);
}

static void test_every_call_of_an_end_fails(void **state)
{
    (void)state;
    expect_failures(end_and_wait);
}

static void test_every_call_of_a_removal_fails(void **state)
{
    (void)state;
    expect_failures(remove_ended);
}

static void test_every_call_of_a_removal_of_what_nobody_knows_fails(void **state)
{
    (void)state;
    expect_failures(remove_lost);
}

#define EVERY_FAILURE_TEST(test) cmocka_unit_test_setup_teardown(test, fd_leak_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERY_FAILURE_TEST(test_every_call_of_a_start_fails),
        EVERY_FAILURE_TEST(test_every_call_of_a_boot_fails),
        EVERY_FAILURE_TEST(test_every_call_of_a_stop_fails),
        EVERY_FAILURE_TEST(test_every_call_of_a_recovery_fails),
        EVERY_FAILURE_TEST(test_every_call_of_an_end_fails),
        EVERY_FAILURE_TEST(test_every_call_of_a_removal_fails),
        EVERY_FAILURE_TEST(test_every_call_of_a_removal_of_what_nobody_knows_fails),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
