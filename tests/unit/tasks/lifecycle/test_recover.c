/* Tasks that another plugin finds again. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/persist/driver_state.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

/* A task that runs, and a new plugin that does not know of it. */
static struct driver_fixture *start_and_restart(const char *options)
{
    struct driver_fixture *f = driver_fixture_new();

    driver_fixture_expect(f, driver_fixture_start(f, options));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    return f;
}

static bool has_ended(void *data)
{
    const struct driver_fixture *f = data;

    return fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT) == 0;
}

static void end(struct driver_fixture *f, const char *code)
{
    driver_fixture_let_go(f, code);
    assert_true(event_run_until(f->event, has_ended, f));
}

static void expect_exit(struct driver_fixture *f, int code)
{
    const struct asked *wait = driver_fixture_wait(f);

    driver_fixture_await(f, wait);
    assert_null(wait->text);
    assert_int_equal(wait->exit.exit_code, code);
}

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

static void expect_not_found(struct driver_fixture *f, const char *part)
{
    const struct asked *recover = driver_fixture_recover(f);

    driver_fixture_await(f, recover);
    assert_int_equal(recover->error, -ENOENT);
    if (strstr(recover->text, part) == NULL)
        fail_msg("'%s' does not hold '%s'", recover->text, part);
}

static void test_a_task_that_runs_goes_on(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    driver_fixture_expect(f, driver_fixture_recover(f));
    assert_int_equal(driver_fixture_phase(f), TASK_PHASE_RUNNING);
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_let_go(f, "7");
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 7);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "started\n");
    destroy(f);
}

static void test_a_task_that_ended_meanwhile_has_its_result_and_output(void **state)
{
    struct driver_fixture *f = start_and_restart("'boot': false, 'command': ['/bin/sh', '-c', "
                                                 "'read code < /go/fifo; echo late; exit $code']");

    (void)state;
    end(f, "8");
    driver_fixture_expect(f, driver_fixture_recover(f));
    expect_exit(f, 8);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "late\n");
    destroy(f);
}

static void test_a_task_is_recovered_more_than_once(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    driver_fixture_expect(f, driver_fixture_recover(f));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_recover(f));
    driver_fixture_let_go(f, "0");
    expect_exit(f, 0);
    destroy(f);
}

static void test_a_booted_system_is_still_shut_down_in_order(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, "'boot': true, 'console': 'pipe'"));
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "the system is up"));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_recover(f));
    driver_fixture_expect(f, driver_fixture_stop(f, 20000000, NULL));
    expect_exit(f, 0);
    destroy(f);
}

static void test_a_task_whose_pid_1_machined_does_not_tell_can_be_killed(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    fake_bus_refuse(f->fake, "GetMachine", "org.freedesktop.machine1.NoSuchMachine", "none");
    driver_fixture_expect(f, driver_fixture_recover(f));
    driver_fixture_expect(f, driver_fixture_stop(f, 50000, NULL));
    expect_exit(f, 128 + SIGKILL);
    destroy(f);
}

static void test_what_is_asked_of_a_task_that_is_recovered(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    const struct asked *recover = driver_fixture_recover(f), *again = driver_fixture_recover(f);
    const struct asked *stop = driver_fixture_stop(f, 20000000, NULL);
    driver_fixture_await(f, again);
    assert_int_equal(again->error, -EBUSY);
    assert_true(again->is_recoverable);
    driver_fixture_expect(f, recover);
    driver_fixture_expect(f, driver_fixture_recover(f)); /* the agent has lost it, we have not */
    driver_fixture_expect(f, stop);
    expect_exit(f, 128 + SIGTERM);
    destroy(f);
}

static void test_a_forced_destroy_of_a_task_that_is_recovered(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    const struct asked *recover = driver_fixture_recover(f);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_expect(f, recover);
    driver_fixture_free(f);
}

/* --- not found ------------------------------------------------------------------------------- */

static void test_a_unit_that_is_gone_is_not_found_and_can_be_destroyed(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    fake_systemd_forget(f->systemd, DRIVER_FIXTURE_UNIT);
    expect_not_found(f, "its unit 'nspawn-web-");
    destroy(f);
}

static void test_a_task_that_was_removed_is_not_found(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    expect_not_found(f, "it has been removed");
    driver_fixture_free(f);
}

static void recover_with(struct driver_fixture *f, const struct driver_state *changed)
{
    free(f->driver_state);
    driver_state_encode(changed, &f->driver_state, &f->n_state_bytes);
}

static void decode(const struct driver_fixture *f, struct driver_state *ret)
{
    int r = driver_state_decode(ret, f->driver_state, f->n_state_bytes, NULL);

    assert_true(r >= 0);
}

static void test_the_unit_of_another_start_is_not_the_task(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);
    CLEANUP(driver_state_done) struct driver_state kept = {};

    (void)state;
    decode(f, &kept);
    free(kept.invocation_id);
    kept.invocation_id = alloc_strdup("00000000000000000000000000000000");
    recover_with(f, &kept);
    expect_not_found(f, "is of another start");
    destroy(f);
}

static void test_nothing_is_found_after_the_host_was_booted(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);
    CLEANUP(driver_state_done) struct driver_state kept = {};

    (void)state;
    decode(f, &kept);
    free(kept.boot_id);
    kept.boot_id = alloc_strdup("00000000000000000000000000000000");
    recover_with(f, &kept);
    expect_not_found(f, "the host has been booted");
    destroy(f);
}

static void test_the_state_of_another_machine_is_refused(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);
    CLEANUP(driver_state_done) struct driver_state kept = {};

    (void)state;
    decode(f, &kept);
    free(kept.machine);
    kept.machine = alloc_strdup("other");
    recover_with(f, &kept);
    const struct asked *recover = driver_fixture_recover(f);
    driver_fixture_await(f, recover);
    assert_int_equal(recover->error, -EINVAL);
    destroy(f);
}

static void test_a_state_that_can_not_be_read_is_refused(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    f->n_state_bytes = 3;
    const struct asked *recover = driver_fixture_recover(f);
    driver_fixture_await(f, recover);
    assert_true(recover->error < 0);
    destroy(f);
}

static void test_waits_for_a_task_that_is_not_found_are_answered(void **state)
{
    struct driver_fixture *f = start_and_restart(NULL);

    (void)state;
    fake_systemd_forget(f->systemd, DRIVER_FIXTURE_UNIT);
    const struct asked *recover = driver_fixture_recover(f);
    const struct asked *wait = driver_fixture_wait(f), *stop = driver_fixture_stop(f, 0, NULL);
    const struct asked *killed = driver_fixture_destroy(f, true);
    driver_fixture_await(f, recover);
    assert_int_equal(recover->error, -ENOENT);
    driver_fixture_await(f, wait);
    assert_non_null(wait->text);
    driver_fixture_await(f, stop);
    driver_fixture_await(f, killed);
    destroy(f); /* what is there stayed as it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_task_that_runs_goes_on),
        FD_LEAK_TEST(test_a_task_that_ended_meanwhile_has_its_result_and_output),
        FD_LEAK_TEST(test_a_task_is_recovered_more_than_once),
        FD_LEAK_TEST(test_a_booted_system_is_still_shut_down_in_order),
        FD_LEAK_TEST(test_a_task_whose_pid_1_machined_does_not_tell_can_be_killed),
        FD_LEAK_TEST(test_what_is_asked_of_a_task_that_is_recovered),
        FD_LEAK_TEST(test_a_forced_destroy_of_a_task_that_is_recovered),
        FD_LEAK_TEST(test_a_unit_that_is_gone_is_not_found_and_can_be_destroyed),
        FD_LEAK_TEST(test_a_task_that_was_removed_is_not_found),
        FD_LEAK_TEST(test_the_unit_of_another_start_is_not_the_task),
        FD_LEAK_TEST(test_nothing_is_found_after_the_host_was_booted),
        FD_LEAK_TEST(test_the_state_of_another_machine_is_refused),
        FD_LEAK_TEST(test_a_state_that_can_not_be_read_is_refused),
        FD_LEAK_TEST(test_waits_for_a_task_that_is_not_found_are_answered),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
