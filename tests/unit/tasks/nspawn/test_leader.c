/* Real processes: children of ours are what a leader is to nspawn. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/nspawn/leader.h"
#include "tests/support/fd_leak.h"

static pid_t start(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    return pid;
}

static void reap(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_signal_that_ended_it_is_told_once_it_is_reaped(void **state)
{
    pid_t pid = start();
    int status = 7;
    int fd = leader_open(pid, getpid(), NULL);

    (void)state;
    assert_true(fd >= 0);
    assert_false(leader_has_ended(fd));
    int r = leader_status(fd, &status);
    if (r == -EOPNOTSUPP) {
        print_message("skipped in part: this kernel does not tell how a process ended\n");
    } else {
        assert_int_equal(r, -EAGAIN);
    }
    assert_int_equal(leader_signal(fd, SIGUSR1), 0);
    reap(pid);
    assert_true(leader_has_ended(fd));
    assert_int_equal(leader_signal(fd, SIGUSR1), -ESRCH);
    if (r != -EOPNOTSUPP) {
        assert_int_equal(leader_status(fd, &status), 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGUSR1);
    }
    (void)close_fd(fd);
}

static void test_kernel_that_can_t_tell_is_played(void **state)
{
    pid_t pid = start();
    int status = 7;
    int fd = leader_open(pid, getpid(), NULL);

    (void)state;
    assert_int_equal(leader_signal(fd, SIGKILL), 0);
    reap(pid);
    assert_int_equal(setenv(LEADER_NO_STATUS_ENV, "1", 1), 0);
    assert_int_equal(leader_status(fd, &status), -EOPNOTSUPP);
    assert_int_equal(unsetenv(LEADER_NO_STATUS_ENV), 0);
    assert_int_equal(status, 7);
    (void)close_fd(fd);
}

static void test_process_of_somebody_else_is_no_leader(void **state)
{
    pid_t pid = start();

    (void)state;
    assert_int_equal(leader_open(pid, pid, NULL), -ESRCH);
    assert_int_equal(leader_open(pid, 0, "nspawn-no-such.service"), -ESRCH);
    assert_int_equal(kill(pid, SIGKILL), 0);
    reap(pid);
    assert_int_equal(leader_open(pid, getpid(), NULL), -ESRCH);
}

/* The last part of this process's cgroup, which its children share; "": it is in the root. */
static char *own_unit(void)
{
    CLEANUP_FREE char *text = NULL;

    assert_int_equal(file_read(AT_FDCWD, "/proc/self/cgroup", 0, 4096, &text, NULL), 0);
    const char *name = strrchr(text, '/');
    assert_non_null(name);
    return alloc_strndup(name + 1, strcspn(name + 1, "\n"));
}

static void test_where_the_parent_is_not_known_the_cgroup_counts(void **state)
{
    CLEANUP_FREE char *unit = own_unit();
    size_t n = strlen(unit);
    pid_t pid = start();

    (void)state;
    assert_int_equal(leader_open(pid, 0, "no-such-unit.service"), -ESRCH);
    if (n > 1) {
        CLEANUP_CLOSE int fd = leader_open(pid, 0, unit);
        assert_true(fd >= 0);
        unit[n - 1] = '\0'; /* a name that only begins like it */
        assert_int_equal(leader_open(pid, 0, unit), -ESRCH);
    } else {
        print_message("skipped in part: this process is in the root of the cgroups\n");
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    reap(pid);
    assert_int_equal(leader_open(pid, 0, unit), -ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_signal_that_ended_it_is_told_once_it_is_reaped),
        FD_LEAK_TEST(test_kernel_that_can_t_tell_is_played),
        FD_LEAK_TEST(test_process_of_somebody_else_is_no_leader),
        FD_LEAK_TEST(test_where_the_parent_is_not_known_the_cgroup_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
