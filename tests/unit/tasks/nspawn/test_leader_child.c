/* Real processes: a leader that is our child, and its child, which plays the task's command. */
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

#include "reactor/cleanup.h"
#include "tasks/nspawn/leader.h"
#include "tests/support/fd_leak.h"

struct family {
    pid_t leader, command; /* command: 0, none */
    int order_fd;          /* a byte lets the leader end */
    int status_fd;         /* the command's wait status comes from here */
};

static void run_command(const char *name) __attribute__((noreturn));
static void run_command(const char *name)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_NAME, name);
    for (;;)
        (void)pause();
}

static void run_leader(const char *name, int pid_fd, int order_fd, int status_fd)
        __attribute__((noreturn));
static void run_leader(const char *name, int pid_fd, int order_fd, int status_fd)
{
    pid_t command = 0;
    int status = 0;
    char byte;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (name != NULL) {
        command = fork();
        if (command == 0)
            run_command(name);
    }
    if (write(pid_fd, &command, sizeof(command)) != sizeof(command))
        _exit(1);
    if (command > 0) {
        (void)waitpid(command, &status, 0);
        if (write(status_fd, &status, sizeof(status)) != sizeof(status))
            _exit(2);
    }
    _exit(read(order_fd, &byte, 1) == 1 ? 0 : 3);
}

/* `name`: of the command's process; NULL: there is no command. */
static struct family start(const char *name)
{
    int pids[2], orders[2], statuses[2];
    struct family family = {};

    assert_int_equal(pipe2(pids, O_CLOEXEC), 0);
    assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
    assert_int_equal(pipe2(statuses, O_CLOEXEC), 0);
    family.leader = fork();
    assert_true(family.leader >= 0);
    if (family.leader == 0) {
        (void)close(orders[1]);
        run_leader(name, pids[1], orders[0], statuses[1]);
    }
    (void)close(pids[1]);
    (void)close(orders[0]);
    (void)close(statuses[1]);
    assert_int_equal(read(pids[0], &family.command, sizeof(family.command)), sizeof(pid_t));
    (void)close(pids[0]);
    family.order_fd = orders[1];
    family.status_fd = statuses[0];
    return family;
}

static int await_command(const struct family *family)
{
    int status;

    assert_int_equal(read(family->status_fd, &status, sizeof(status)), sizeof(status));
    return status;
}

static void end(struct family *family)
{
    int status;

    assert_int_equal(write(family->order_fd, "", 1), 1);
    family->order_fd = close_fd(family->order_fd);
    assert_int_equal(waitpid(family->leader, &status, 0), family->leader);
    family->status_fd = close_fd(family->status_fd);
}

static void test_command_is_the_leader_s_child(void **state)
{
    struct family family = start("command");
    pid_t child = 0;

    (void)state;
    assert_int_equal(leader_find_child(family.leader, &child), 0);
    assert_int_equal(child, family.command);
    assert_int_equal(leader_kill_child(family.leader, child, SIGKILL), 0);
    (void)await_command(&family);
    end(&family);
}

static void test_leader_without_a_child_is_told_from_one_that_is_gone(void **state)
{
    struct family family = start(NULL);
    pid_t child = 7;

    (void)state;
    assert_int_equal(leader_find_child(family.leader, &child), -EAGAIN);
    end(&family);
    assert_int_equal(leader_find_child(family.leader, &child), -ESRCH);
    assert_int_equal(child, 7);
}

static void test_signal_reaches_the_child(void **state)
{
    struct family family = start("command");

    (void)state;
    assert_int_equal(leader_kill_child(family.leader, family.command, SIGUSR1), 0);
    int status = await_command(&family);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGUSR1);
    pid_t child = 7;
    assert_int_equal(leader_find_child(family.leader, &child), -EAGAIN);
    end(&family);
}

static void test_process_of_another_parent_is_not_hit(void **state)
{
    struct family one = start("one"), other = start("other");

    (void)state;
    assert_int_equal(leader_kill_child(one.leader, other.command, SIGKILL), -ESRCH);
    assert_int_equal(leader_kill_child(getpid(), other.command, SIGKILL), -ESRCH);
    assert_int_equal(leader_kill_child(other.command, other.leader, SIGKILL), -ESRCH);
    /* Both still live: a signal that ends them is the first that arrives. */
    assert_int_equal(leader_kill_child(one.leader, one.command, SIGUSR1), 0);
    assert_int_equal(leader_kill_child(other.leader, other.command, SIGUSR2), 0);
    assert_int_equal(WTERMSIG(await_command(&one)), SIGUSR1);
    assert_int_equal(WTERMSIG(await_command(&other)), SIGUSR2);
    end(&one);
    end(&other);
}

/* /proc/PID/stat has the name between parentheses, as it is. */
static void test_name_of_a_process_can_t_lie_about_its_parent(void **state)
{
    static const char *const names[] = { ") R 1 (", "a) S 1 1", "))))", "", " ", "\n) R 1 1" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct family family = start(names[i]);
        assert_int_equal(leader_kill_child(1, family.command, SIGKILL), -ESRCH);
        assert_int_equal(leader_kill_child(family.leader, family.command, SIGUSR1), 0);
        assert_int_equal(WTERMSIG(await_command(&family)), SIGUSR1);
        end(&family);
    }
}

static void test_pid_that_is_gone_is_told(void **state)
{
    struct family family = start("command");

    (void)state;
    assert_int_equal(leader_kill_child(family.leader, family.command, SIGKILL), 0);
    (void)await_command(&family);
    assert_int_equal(leader_kill_child(family.leader, family.command, SIGKILL), -ESRCH);
    end(&family);
}

static void test_signal_that_is_none_is_refused(void **state)
{
    struct family family = start("command");

    (void)state;
    assert_int_equal(leader_kill_child(family.leader, family.command, 999), -EINVAL);
    assert_int_equal(leader_kill_child(family.leader, family.command, SIGKILL), 0);
    (void)await_command(&family);
    end(&family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_command_is_the_leader_s_child),
        FD_LEAK_TEST(test_leader_without_a_child_is_told_from_one_that_is_gone),
        FD_LEAK_TEST(test_signal_reaches_the_child),
        FD_LEAK_TEST(test_process_of_another_parent_is_not_hit),
        FD_LEAK_TEST(test_name_of_a_process_can_t_lie_about_its_parent),
        FD_LEAK_TEST(test_pid_that_is_gone_is_told),
        FD_LEAK_TEST(test_signal_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
