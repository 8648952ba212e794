/* Ends of tasks: what Nomad is told of how. */
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

#include "tasks/nspawn/leader.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

#define COMMAND(text) "'boot': false, 'command': ['/bin/sh', '-c', '" text "']"

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

static void expect_exit(struct driver_fixture *f, int code, int signal)
{
    const struct asked *wait = driver_fixture_wait(f);

    driver_fixture_await(f, wait);
    if (wait->exit.exit_code != code || wait->exit.signal != signal)
        fail_msg("it ended with code %d and signal %d; expected %d and %d", wait->exit.exit_code,
                 wait->exit.signal, code, signal);
    assert_null(wait->text);
}

static void start(struct driver_fixture *f, const char *options)
{
    driver_fixture_expect(f, driver_fixture_start(f, options));
}

/* As on kernels before 6.15, which do not keep how PID 1 ended. */
static void forget_leader_status(bool forget)
{
    int r = forget ? setenv(LEADER_NO_STATUS_ENV, "1", 1) : unsetenv(LEADER_NO_STATUS_ENV);

    assert_int_equal(r, 0);
}

static void test_a_command_that_kills_itself(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, COMMAND("kill -USR1 $$"));
    expect_exit(f, 128 + SIGUSR1, SIGUSR1);
    destroy(f);
}

static void test_a_command_as_pid_1_ends_with_nspawns_code(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    forget_leader_status(true);
    start(f, "'process_two': false, " DRIVER_FIXTURE_WAITS);
    driver_fixture_let_go(f, "6");
    expect_exit(f, 6, 0);
    forget_leader_status(false);
    destroy(f);
}

static void test_a_pid_1_that_is_killed_from_outside(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, "'process_two': false, " DRIVER_FIXTURE_WAITS);
    assert_int_equal(kill(fake_nspawn_leader(f->nspawn), SIGKILL), 0);
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_int_not_equal(wait->exit.exit_code, 0); /* on older kernels nspawn's, of a failure */
    destroy(f);
}

static void test_nspawn_itself_is_killed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    forget_leader_status(true);
    start(f, "'process_two': false, " DRIVER_FIXTURE_WAITS);
    (void)kill(fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT), SIGKILL);
    expect_exit(f, 128 + SIGKILL, SIGKILL);
    forget_leader_status(false);
    destroy(f);
}

static void test_a_process_that_ignores_the_stop_signal_is_killed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, COMMAND("trap : TERM; echo ignores; while :; do read line < /go/fifo; done"));
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "ignores"));
    driver_fixture_expect(f, driver_fixture_stop(f, 50000, "SIGTERM"));
    expect_exit(f, 128 + SIGKILL, SIGKILL);
    assert_true(driver_fixture_was_told(f, "Did not end within 0.05 s, killed by SIGKILL"));
    destroy(f);
}

static void test_the_signal_of_a_stop_may_be_another(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, COMMAND("trap \"exit 12\" USR2; echo waits; while :; do read line < /go/fifo; done"));
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "waits"));
    driver_fixture_expect(f, driver_fixture_stop(f, 20000000, "SIGUSR2"));
    expect_exit(f, 12, 0);
    destroy(f);
}

static void test_systemd_says_that_it_ran_out_of_memory(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, NULL);
    fake_systemd_set_result(f->systemd, "oom-kill");
    driver_fixture_let_go(f, "1");
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_true(wait->exit.oom_killed);
    destroy(f);
}

static void test_a_unit_that_somebody_removed_has_no_result(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    forget_leader_status(true);
    start(f, NULL);
    fake_systemd_forget(f->systemd, DRIVER_FIXTURE_UNIT);
    fake_bus_name(f->fake, "org.freedesktop.systemd1", ":1.1", ":1.2");
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_non_null(wait->text);
    assert_non_null(strstr(wait->text, "systemd no longer knows the task's unit"));
    forget_leader_status(false);
    destroy(f);
}

static void test_an_end_while_there_is_no_bus_is_told_later(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, NULL);
    fake_bus_vanish(f->fake);
    driver_fixture_let_go(f, "9");
    const struct asked *wait = driver_fixture_wait(f);
    event_run_pending(f->event);
    assert_int_equal(wait->n_answers, 0);
    fake_bus_appear(f->fake);
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 9);
    destroy(f);
}

static void test_a_booted_system_that_reboots_has_ended(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .reboots = true });
    start(f, "'boot': true, 'console': 'pipe'");
    expect_exit(f, 133, 0);
    destroy(f);
}

/* nspawn says so itself where it runs the command. */
static void test_nspawns_word_of_a_command_that_it_could_not_execute(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    struct fake_nspawn_how how = { .says = "execv(/sbin/init) failed: No such file or directory" };

    (void)state;
    fake_nspawn_set(f->nspawn, how);
    start(f, "'boot': true, 'console': 'pipe'");
    (void)kill(fake_nspawn_leader(f->nspawn), SIGKILL);
    driver_fixture_await(f, driver_fixture_wait(f));
    assert_true(driver_fixture_await_told(f, "Command \"/sbin/init\" cannot be executed"));
    destroy(f);
}

static void test_who_waits_may_give_up(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    start(f, NULL);
    struct asked *given_up = driver_fixture_wait(f);
    given_up->waiter = task_waiter_free(given_up->waiter);
    driver_fixture_let_go(f, "0");
    expect_exit(f, 0, 0);
    assert_int_equal(given_up->n_answers, 0);
    given_up->is_given_up = true;
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_command_that_kills_itself),
        FD_LEAK_TEST(test_a_command_as_pid_1_ends_with_nspawns_code),
        FD_LEAK_TEST(test_a_pid_1_that_is_killed_from_outside),
        FD_LEAK_TEST(test_nspawn_itself_is_killed),
        FD_LEAK_TEST(test_a_process_that_ignores_the_stop_signal_is_killed),
        FD_LEAK_TEST(test_the_signal_of_a_stop_may_be_another),
        FD_LEAK_TEST(test_systemd_says_that_it_ran_out_of_memory),
        FD_LEAK_TEST(test_a_unit_that_somebody_removed_has_no_result),
        FD_LEAK_TEST(test_an_end_while_there_is_no_bus_is_told_later),
        FD_LEAK_TEST(test_a_booted_system_that_reboots_has_ended),
        FD_LEAK_TEST(test_nspawns_word_of_a_command_that_it_could_not_execute),
        FD_LEAK_TEST(test_who_waits_may_give_up),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
