#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_execute.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

/* --- environment ----------------------------------------------------------------------------- */

static void assert_environment(const char *const *base, const char *const *job,
                               const char *const *expected)
{
    CLEANUP(inside_user_done) struct inside_user worker = {
        .uid = 1000,
        .gid = 1000,
        .name = alloc_strdup("worker"),
        .home = alloc_strdup("/home/worker"),
        .shell = alloc_strdup("/bin/ash"),
    };
    CLEANUP(strv_done) struct strv bases = {}, jobs = {}, environment = {};
    size_t n = 0;

    for (; base != NULL && *base != NULL; base++)
        strv_push(&bases, *base);

    for (; job != NULL && *job != NULL; job++)
        strv_push(&jobs, *job);
    inside_environment(bases.items, &worker, &jobs, &environment);
    for (; expected[n] != NULL; n++) {
        if (!strv_contains(&environment, expected[n]))
            fail_msg("'%s' is not in it", expected[n]);
    }
    assert_int_equal(environment.n_items, n);
    assert_null(environment.items[n]);
}

static void test_the_user_has_what_a_login_has(void **state)
{
    static const char *const expected[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/home/worker", "USER=worker", "LOGNAME=worker", "SHELL=/bin/ash", NULL,
    };

    (void)state;
    assert_environment(NULL, NULL, expected);
}

static void test_the_user_counts_before_the_base_and_the_job_before_both(void **state)
{
    static const char *const base[] = { "container=systemd-nspawn", "PATH=/sbin", "HOME=/root", "A=base",
                                  NULL };
    static const char *const job[] = { "A=job\nof two lines", "HOME=/elsewhere", "B=", NULL };
    static const char *const expected[] = {
        "container=systemd-nspawn", "PATH=/sbin", "HOME=/elsewhere", "USER=worker",
        "LOGNAME=worker", "SHELL=/bin/ash", "A=job\nof two lines", "B=", NULL,
    };

    (void)state;
    assert_environment(base, job, expected);
}

static void test_what_was_for_pid_1_alone_is_left_out(void **state)
{
    static const char *const base[] = { "NOTIFY_SOCKET=/run/host/notify", "LISTEN_FDS=1", "LISTEN_PID=1",
                                  "LISTEN_FDNAMES=x", "NOTIFY_SOCKETS=kept", NULL };
    static const char *const expected[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/home/worker", "USER=worker", "LOGNAME=worker", "SHELL=/bin/ash",
        "NOTIFY_SOCKETS=kept", NULL,
    };

    (void)state;
    assert_environment(base, NULL, expected);
}

/* --- execution ------------------------------------------------------------------------------- */

/* What the shell exits with, or 100 and the errno of an execution that failed. */
static int run(const char *path, const char *const *words)
{
    CLEANUP(strv_done) struct strv argv = {}, environment = {};
    int status;

    for (; *words != NULL; words++)
        strv_push(&argv, *words);
    if (path != NULL)
        strv_printf(&environment, "PATH=%s", path);
    else
        strv_push(&environment, "X=");
    pid_t pid = fork();
    if (pid == 0)
        _exit(100 - inside_execute(&argv, &environment));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(path, ...) run((path), (const char *const[]){ __VA_ARGS__, NULL })

static void test_a_name_is_looked_up_in_path(void **state)
{
    (void)state;
    assert_int_equal(RUN("/no/such/place::/bin", "sh", "-c", "exit 7"), 7);
    assert_int_equal(RUN(NULL, "sh", "-c", "exit 8"), 8);
    assert_int_equal(RUN("/no/such/place:/etc", "sh", "-c", "exit 7"), 100 + ENOENT);
}

static void test_a_path_is_not_looked_up(void **state)
{
    (void)state;
    assert_int_equal(RUN("/bin", "/bin/sh", "-c", "exit 9"), 9);
    assert_int_equal(RUN("/bin", "/sh", "-c", "exit 9"), 100 + ENOENT);
    assert_int_equal(RUN("/bin", ""), 100 + ENOENT);
}

static void make_script(const char *dir, const char *name, const char *text, mode_t mode)
{
    CLEANUP_FREE char *path = scratch_dir_path(dir, name);

    scratch_dir_write(dir, name, text);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_scripts_run_with_and_without_an_interpreter_line(void **state)
{
    CLEANUP_FREE char *dir = scratch_dir_new();

    (void)state;
    make_script(dir, "with", "#!/bin/sh\nexit $1\n", 0755);
    make_script(dir, "without", "exit $1\n", 0755);
    assert_int_equal(RUN(dir, "with", "3"), 3);
    assert_int_equal(RUN(dir, "without", "4"), 4);
    scratch_dir_free(TAKE_PTR(dir));
}

static void test_what_may_not_be_executed_is_told_from_what_is_not_there(void **state)
{
    CLEANUP_FREE char *dir = scratch_dir_new();
    CLEANUP_FREE char *path = alloc_printf("%s:/no/such/place", dir);

    (void)state;
    make_script(dir, "data", "exit 0\n", 0644);
    assert_int_equal(RUN(path, "data"), 100 + EACCES);
    assert_int_equal(RUN(path, "nothing"), 100 + ENOENT);
    assert_int_equal(inside_exit_code(-EACCES), 126);
    assert_int_equal(inside_exit_code(-ENOEXEC), 126);
    assert_int_equal(inside_exit_code(-ENOENT), 127);
    scratch_dir_free(TAKE_PTR(dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_the_user_has_what_a_login_has),
        FD_LEAK_TEST(test_the_user_counts_before_the_base_and_the_job_before_both),
        FD_LEAK_TEST(test_what_was_for_pid_1_alone_is_left_out),
        FD_LEAK_TEST(test_a_name_is_looked_up_in_path),
        FD_LEAK_TEST(test_a_path_is_not_looked_up),
        FD_LEAK_TEST(test_scripts_run_with_and_without_an_interpreter_line),
        FD_LEAK_TEST(test_what_may_not_be_executed_is_told_from_what_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
