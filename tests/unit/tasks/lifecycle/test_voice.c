/* What a container says of itself while it lives, and what is told of that. */
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

static struct driver_fixture *start(const char *options)
{
    struct driver_fixture *f = driver_fixture_new();

    driver_fixture_expect(f, driver_fixture_start(f, options));
    return f;
}

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_free(f);
}

static size_t n_told(const struct driver_fixture *f, const char *part)
{
    size_t n = 0;

    for (size_t i = 0; i < f->told.n_items; i++)
        n += strstr(f->told.items[i], part) != NULL;
    return n;
}

static void test_a_status_is_told(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: warming up");
    assert_true(driver_fixture_await_told(f, "Status: warming up"));
    destroy(f);
}

/* Nomad keeps ten events of a task. */
static void test_the_next_status_waits(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: one");
    assert_true(driver_fixture_await_told(f, "Status: one"));
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: two");
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: three");
    event_run_pending(f->event);
    assert_int_equal(n_told(f, "Status: "), 1);
    destroy(f);
}

static void test_what_nspawn_says_of_itself_is_not_told(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    fake_nspawn_notify(f->nspawn, "STATUS=Container running.");
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: ");
    event_run_pending(f->event);
    assert_int_equal(n_told(f, "Status: "), 0);
    destroy(f);
}

static void test_a_process_that_is_ready_is_told_once(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    fake_nspawn_notify(f->nspawn, "READY=1");
    assert_true(driver_fixture_await_told(f, "Ready after "));
    fake_nspawn_notify(f->nspawn, "READY=1");
    event_run_pending(f->event);
    assert_int_equal(n_told(f, "Ready after "), 1);
    destroy(f);
}

static void test_a_system_that_has_booted_is_told_and_its_steps_are_not(void **state)
{
    struct driver_fixture *f = start("'boot': true, 'console': 'pipe'");

    (void)state;
    fake_nspawn_notify(f->nspawn, "STATUS=Container running: Starting everything");
    fake_nspawn_notify(f->nspawn, "READY=1\nSTATUS=Container running: Ready.");
    assert_true(driver_fixture_await_told(f, "Booted in "));
    assert_int_equal(n_told(f, "Status: "), 0);
    destroy(f);
}

/* It has told so before the plugin was restarted, or may have. */
static void test_a_task_that_is_recovered_is_not_told_to_be_ready(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_recover(f));
    fake_nspawn_notify(f->nspawn, "READY=1\nSTATUS=Container running: again");
    assert_true(driver_fixture_await_told(f, "Status: again"));
    assert_int_equal(n_told(f, "Ready after "), 0);
    destroy(f);
}

/* A process that has nothing to do with the task, with a child of its own. */
static pid_t start_stranger(void)
{
    int ready[2];
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)!write(ready[1], "", 1);
        }
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static void test_a_leader_that_is_not_nspawns_child_gets_no_signals(void **state)
{
    struct driver_fixture *f = start(NULL);
    pid_t stranger = start_stranger();
    CLEANUP_FREE char *text =
        alloc_printf("X_NSPAWN_LEADER_PID=%d\nSTATUS=Container running: a lie", stranger);

    (void)state;
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    fake_bus_refuse(f->fake, "GetMachine", "org.freedesktop.machine1.NoSuchMachine", "none");
    driver_fixture_expect(f, driver_fixture_recover(f));
    fake_nspawn_notify(f->nspawn, text);
    assert_true(driver_fixture_await_told(f, "Status: a lie"));
    const struct asked *signal = driver_fixture_signal(f, "SIGWINCH"); /* harmless */
    driver_fixture_await(f, signal);
    (void)kill(stranger, SIGKILL);
    (void)waitpid(stranger, NULL, 0);
    assert_int_equal(signal->error, -ESRCH);
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_status_is_told),
        FD_LEAK_TEST(test_the_next_status_waits),
        FD_LEAK_TEST(test_what_nspawn_says_of_itself_is_not_told),
        FD_LEAK_TEST(test_a_process_that_is_ready_is_told_once),
        FD_LEAK_TEST(test_a_system_that_has_booted_is_told_and_its_steps_are_not),
        FD_LEAK_TEST(test_a_task_that_is_recovered_is_not_told_to_be_ready),
        FD_LEAK_TEST(test_a_leader_that_is_not_nspawns_child_gets_no_signals),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
