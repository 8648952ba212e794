/* Starts that are given up, by a stop that is handled while something is on its way to them. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

static bool is_networkd_asked(void *data)
{
    const struct driver_fixture *f = data;

    return fake_bus_n_held(f->fake) > 0;
}

/* A start in a network of its own, which has just asked systemd whether networkd runs. */
static struct driver_fixture *start_that_asks(struct asked **ret_start)
{
    struct driver_fixture *f = driver_fixture_new();
    CLEANUP_FREE char *config = alloc_printf("{'image': '%s', 'user_namespacing': false, "
                                             "'boot': false, 'command': ['true']}",
                                             f->image);

    event_run_pending(f->event); /* what the driver asks for itself */
    fake_bus_hold(f->fake);
    *ret_start = driver_fixture_start_config(f, config);
    assert_true(event_run_until(f->event, is_networkd_asked, f));
    return f;
}

static void expect_given_up(struct driver_fixture *f, const struct asked *start,
                            const struct asked *stop)
{
    driver_fixture_expect(f, stop);
    driver_fixture_await(f, start);
    assert_int_equal(start->error, -ECANCELED);
    event_run_pending(f->event);
    driver_fixture_free(f);
}

/* Both are in the loop's queue then, the answer first. */
static void test_a_stop_in_the_turn_of_systemds_answer_about_networkd(void **state)
{
    struct asked *start;
    struct driver_fixture *f = start_that_asks(&start);

    (void)state;
    fake_bus_release(f->fake);
    expect_given_up(f, start, driver_fixture_stop(f, 1000000, NULL));
}

static void test_a_stop_just_before_systemds_answer_about_networkd(void **state)
{
    struct asked *start;
    struct driver_fixture *f = start_that_asks(&start);

    (void)state;
    const struct asked *stop = driver_fixture_stop(f, 1000000, NULL);
    fake_bus_release(f->fake);
    expect_given_up(f, start, stop);
}

static void test_a_forced_destroy_in_the_turn_of_that_answer(void **state)
{
    struct asked *start;
    struct driver_fixture *f = start_that_asks(&start);

    (void)state;
    fake_bus_release(f->fake);
    expect_given_up(f, start, driver_fixture_destroy(f, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_stop_in_the_turn_of_systemds_answer_about_networkd),
        FD_LEAK_TEST(test_a_stop_just_before_systemds_answer_about_networkd),
        FD_LEAK_TEST(test_a_forced_destroy_in_the_turn_of_that_answer),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
