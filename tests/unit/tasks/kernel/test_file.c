#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

static void expect_file(const char *path, const char *text, mode_t mode)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char found[64];
    struct stat stat;

    assert_true(fd >= 0 && fstat(fd, &stat) == 0);
    assert_int_equal(stat.st_mode & 07777, mode);
    assert_int_equal(read(fd, found, sizeof(found)), strlen(text));
    assert_memory_equal(found, text, strlen(text));
}

static void test_file_is_made_and_replaced(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *path = scratch_dir_path(dir, "file");

    (void)state;
    assert_int_equal(file_write(path, "one", 3, 0600), 0);
    expect_file(path, "one", 0600);
    /* Who has the old one keeps it. */
    CLEANUP_CLOSE int old = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_write(path, "second", 6, 0755), 0);
    expect_file(path, "second", 0755);
    char text[8];
    assert_int_equal(read(old, text, sizeof(text)), 3);
    assert_int_equal(scratch_dir_count(dir), 1);
    scratch_dir_free(dir);
}

/* In a child, whose files can't be longer than this. */
static int write_too_much(const char *path)
{
    const struct rlimit limit = { 4, 4 };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    if (sigaction(SIGXFSZ, &ignore, NULL) < 0 || setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return 1;
    return file_write(path, "second", 6, 0600) == -ENOSPC ? 0 : 2;
}

static void test_what_cannot_be_written_whole_changes_nothing(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *path = scratch_dir_path(dir, "file");
    int status;

    (void)state;
    assert_int_equal(file_write(path, "one", 3, 0600), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(write_too_much(path));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_file(path, "one", 0600);
    assert_int_equal(scratch_dir_count(dir), 1);
    scratch_dir_free(dir);
}

static void test_directory_in_the_way_stays(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *path = scratch_dir_path(dir, "file");

    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_write(path, "one", 3, 0600), -EISDIR);
    assert_int_equal(scratch_dir_count(dir), 1);
    assert_int_equal(file_write("/proc/nowhere/file", "one", 3, 0600), -ENOENT);
    scratch_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_file_is_made_and_replaced),
        FD_LEAK_TEST(test_what_cannot_be_written_whole_changes_nothing),
        FD_LEAK_TEST(test_directory_in_the_way_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
