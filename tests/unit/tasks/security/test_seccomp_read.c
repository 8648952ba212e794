/* Real programs of a real process, a child of ours. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tasks/security/seccomp_read.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/security/filter_list.h"

/* With these programs, once this returns. */
static pid_t start(const struct filter_list *list)
{
    int ready[2];
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            inside_filters_install(list->bytes, list->n) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    (void)close_fd(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close_fd(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void expect_programs(pid_t pid, const struct filter_list *list)
{
    CLEANUP_FREE uint8_t *bytes = NULL;
    CLEANUP_FAIL struct fail fail = {};
    size_t n = 0;

    assert_int_equal(seccomp_read(pid, pid, &bytes, &n, &fail), 0);
    assert_int_equal(n, list->n);
    if (n > 0)
        assert_memory_equal(bytes, list->bytes, n);
}

static void test_programs_are_read_oldest_first_and_the_process_goes_on(void **state)
{
    struct filter_list list = {};

    (void)state;
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    filter_list_append_refusal(&list, SYS_getpgid, EDOM);
    pid_t pid = start(&list);
    expect_programs(pid, &list);
    expect_programs(pid, &list);
    end(pid);
}

static void test_process_without_programs_has_an_empty_list(void **state)
{
    struct filter_list none = {};
    pid_t pid = start(&none);

    (void)state;
    expect_programs(pid, &none);
    end(pid);
}

/* A signal that came before us is not lost. */
static void test_signal_at_the_same_time_arrives(void **state)
{
    struct filter_list list = {};
    int status;

    (void)state;
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    pid_t pid = start(&list);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(kill(pid, SIGTERM), 0);
    expect_programs(pid, &list);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void test_process_that_is_gone_is_named(void **state)
{
    CLEANUP_FREE uint8_t *bytes = NULL;
    CLEANUP_FAIL struct fail fail = {};
    struct filter_list none = {};
    size_t n = 0;
    pid_t pid = start(&none);

    (void)state;
    end(pid);
    assert_int_equal(seccomp_read(pid, pid, &bytes, &n, &fail), -ENOENT);
    assert_non_null(strstr(fail.message, "cannot read the seccomp filters of process"));
    assert_null(bytes);
}

static void test_lines_of_a_status(void **state)
{
    uint64_t value = 0;

    (void)state;
    assert_int_equal(seccomp_read_status(getpid(), "Pid", 10, &value), 0);
    assert_int_equal(value, getpid());
    assert_int_equal(seccomp_read_status(getpid(), "id", 10, &value), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_programs_are_read_oldest_first_and_the_process_goes_on),
        FD_LEAK_TEST(test_process_without_programs_has_an_empty_list),
        FD_LEAK_TEST(test_signal_at_the_same_time_arrives),
        FD_LEAK_TEST(test_process_that_is_gone_is_named),
        FD_LEAK_TEST(test_lines_of_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
