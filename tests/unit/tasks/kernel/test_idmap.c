/* What this machine can do is not known here; that the answers agree, and leave nothing, is. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/kernel/idmap.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"

static unsigned n_mounts(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    unsigned n = 0;
    int c;

    assert_non_null(file);
    while ((c = fgetc(file)) != EOF)
        n += c == '\n';
    (void)fclose(file);
    return n;
}

static void expect_no_children(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(errno, ECHILD);
}

static void skip_without_user_namespaces(void)
{
    CLEANUP_CLOSE int fd = idmap_open_user_namespace();

    if (fd >= 0)
        return;
    print_message("no user namespace to be had: %s (in a chroot there is none)\n", strerror(-fd));
    skip();
}

static void test_trying_leaves_nothing(void **state)
{
    unsigned before = n_mounts();

    (void)state;
    for (int i = 0; i < 5; i++) {
        (void)idmap_try("/");
        (void)idmap_try("/run");
        (void)idmap_try("/nowhere");
    }
    expect_no_children();
    assert_int_equal(n_mounts(), before);
}

/* The process that held it has gone. */
static void test_user_namespace_has_a_range_and_lives_by_its_descriptor(void **state)
{
    (void)state;
    skip_without_user_namespaces();
    CLEANUP_CLOSE int fd = idmap_open_user_namespace();
    expect_no_children();
    pid_t pid = fork();
    if (pid == 0) {
        CLEANUP_FREE char *map = NULL;
        unsigned inside = 1, outside = 0, n = 0;

        if (setns(fd, CLONE_NEWUSER) < 0 ||
            file_read(AT_FDCWD, "/proc/self/uid_map", 0, 256, &map, NULL) < 0 ||
            sscanf(map, "%u %u %u", &inside, &outside, &n) != 3)
            _exit(2);
        _exit(inside == 0 && n == 65536 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_path_that_is_not_there_is_told(void **state)
{
    (void)state;
    skip_without_user_namespaces();
    assert_int_equal(idmap_try("/nowhere"), -ENOENT);
    assert_int_equal(idmap_try(""), -ENOENT);
}

static void test_file_system_that_does_not_know_how_is_told(void **state)
{
    (void)state;
    skip_without_user_namespaces();
    assert_int_equal(idmap_try("/proc"), -EOPNOTSUPP);
}

static void test_old_kernels_are_played_by_the_environment(void **state)
{
    int tmpfs = idmap_try("/run"), other = idmap_try("/");

    (void)state;
    skip_without_user_namespaces();
    assert_int_equal(setenv(IDMAP_OFF_ENV, "tmpfs", 1), 0);
    assert_int_equal(idmap_try("/run"), -EOPNOTSUPP);
    assert_int_equal(idmap_try("/"), other);
    assert_int_equal(setenv(IDMAP_OFF_ENV, "all", 1), 0);
    assert_int_equal(idmap_try("/run"), -EOPNOTSUPP);
    assert_int_equal(idmap_try("/"), -EOPNOTSUPP);
    assert_int_equal(setenv(IDMAP_OFF_ENV, "neither", 1), 0);
    assert_int_equal(idmap_try("/run"), tmpfs);
    assert_int_equal(unsetenv(IDMAP_OFF_ENV), 0);
    assert_int_equal(idmap_try("/"), other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_trying_leaves_nothing),
        FD_LEAK_TEST(test_user_namespace_has_a_range_and_lives_by_its_descriptor),
        FD_LEAK_TEST(test_path_that_is_not_there_is_told),
        FD_LEAK_TEST(test_file_system_that_does_not_know_how_is_told),
        FD_LEAK_TEST(test_old_kernels_are_played_by_the_environment),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
