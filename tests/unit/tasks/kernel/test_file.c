#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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
    struct stat stat = {};

    assert_true(fd >= 0 && fstat(fd, &stat) == 0);
    assert_int_equal(stat.st_mode & 07777, mode);
    assert_int_equal(read(fd, found, sizeof(found)), strlen(text));
    assert_memory_equal(found, text, strlen(text));
}

/* --- reading --------------------------------------------------------------------------------- */

static void expect_read(const char *dir, const char *bytes, size_t n_bytes, size_t bytes_max)
{
    CLEANUP_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FREE char *path = scratch_dir_path(dir, "file"), *text = NULL, *begin = NULL;
    size_t n_read = 7, n_begin = n_bytes < bytes_max ? n_bytes : bytes_max;

    assert_int_equal(file_write(path, bytes, n_bytes, 0600), 0);
    int r = file_read(dir_fd, "file", O_NOFOLLOW, bytes_max, &text, &n_read);
    if (n_bytes > bytes_max) {
        assert_int_equal(r, -EFBIG);
        assert_null(text);
        assert_int_equal(n_read, 7);
    } else {
        assert_int_equal(r, 0);
        assert_int_equal(n_read, n_bytes);
        assert_memory_equal(text, bytes, n_bytes);
        assert_int_equal(text[n_bytes], '\0');
    }
    assert_int_equal(file_read_begin(AT_FDCWD, path, 0, bytes_max, &begin, &n_read), 0);
    assert_int_equal(n_read, n_begin);
    assert_memory_equal(begin, bytes, n_begin);
    assert_int_equal(begin[n_begin], '\0');
}

static void test_files_are_read_whole_or_told_to_be_too_long(void **state)
{
    const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 8192, 8193, 20000 };
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *bytes = malloc(20000);

    (void)state;
    for (size_t i = 0; i < 20000; i++)
        bytes[i] = (char)(i % 251); /* with a NUL now and then */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        expect_read(dir, bytes, sizes[i], 1);
        expect_read(dir, bytes, sizes[i], 4096);
        expect_read(dir, bytes, sizes[i], 8192);
        expect_read(dir, bytes, sizes[i], 20000);
        expect_read(dir, bytes, sizes[i], 1 << 20);
    }
    scratch_dir_free(dir);
}

static void test_what_cannot_be_read_is_told_and_not_waited_for(void **state)
{
    char *dir = scratch_dir_new(), *text = NULL;
    CLEANUP_FREE char *fifo = scratch_dir_path(dir, "fifo"), *link = scratch_dir_path(dir, "link");

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("fifo", link), 0);
    assert_int_equal(file_read(AT_FDCWD, link, O_NOFOLLOW, 8, &text, NULL), -ELOOP);
    CLEANUP_CLOSE int writer = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(writer >= 0);
    assert_int_equal(file_read(AT_FDCWD, link, 0, 8, &text, NULL), -EAGAIN);
    assert_int_equal(file_read(AT_FDCWD, dir, 0, 8, &text, NULL), -EISDIR);
    assert_int_equal(file_read_begin(AT_FDCWD, "/proc/nowhere", 0, 8, &text, NULL), -ENOENT);
    assert_int_equal(file_read_fd(-EBADF, 8, &text, NULL), -EBADF);
    assert_null(text);
    scratch_dir_free(dir);
}

static void test_files_of_the_kernel_are_read(void **state)
{
    CLEANUP_FREE char *name = NULL, *maps = NULL;
    size_t n_bytes;

    (void)state;
    assert_int_equal(file_read(AT_FDCWD, "/proc/self/comm", 0, 64, &name, NULL), 0);
    assert_string_equal(name, "test_file\n");
    /* Comes in pieces of a page. */
    assert_int_equal(file_read(AT_FDCWD, "/proc/self/maps", 0, 1 << 20, &maps, &n_bytes), 0);
    assert_true(n_bytes > 4096 && maps[n_bytes - 1] == '\n');
}

/* --- writing --------------------------------------------------------------------------------- */

static void test_new_file_is_never_made_over_what_is_there(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FREE char *path = scratch_dir_path(dir, "file");
    mode_t umask_was = umask(0077);

    (void)state;
    assert_int_equal(file_create(dir_fd, "file", "one", 3, 0644), 0);
    (void)umask(umask_was);
    expect_file(path, "one", 0644);
    assert_int_equal(file_create(dir_fd, "file", "second", 6, 0600), -EEXIST);
    expect_file(path, "one", 0644);
    assert_int_equal(symlinkat("nowhere", dir_fd, "link"), 0);
    assert_int_equal(file_create(dir_fd, "link", "x", 1, 0600), -EEXIST);
    assert_int_equal(file_create(dir_fd, "no/file", "x", 1, 0600), -ENOENT);
    assert_int_equal(scratch_dir_count(dir), 2);
    scratch_dir_free(dir);
}

static void test_values_are_handed_to_the_kernel(void **state)
{
    CLEANUP_FREE char *name = NULL;

    (void)state;
    assert_int_equal(file_set(AT_FDCWD, "/proc/self/comm", "other"), 0);
    assert_int_equal(file_read(AT_FDCWD, "/proc/self/comm", 0, 64, &name, NULL), 0);
    assert_string_equal(name, "other\n");
    assert_int_equal(file_set(AT_FDCWD, "/proc/self/comm", "test_file"), 0);
    assert_int_equal(file_set(AT_FDCWD, "/proc/self/oom_score_adj", "much"), -EINVAL);
    assert_int_equal(file_set(AT_FDCWD, "/proc/self/nothing", "x"), -ENOENT);
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
        FD_LEAK_TEST(test_files_are_read_whole_or_told_to_be_too_long),
        FD_LEAK_TEST(test_what_cannot_be_read_is_told_and_not_waited_for),
        FD_LEAK_TEST(test_files_of_the_kernel_are_read),
        FD_LEAK_TEST(test_new_file_is_never_made_over_what_is_there),
        FD_LEAK_TEST(test_values_are_handed_to_the_kernel),
        FD_LEAK_TEST(test_file_is_made_and_replaced),
        FD_LEAK_TEST(test_what_cannot_be_written_whole_changes_nothing),
        FD_LEAK_TEST(test_directory_in_the_way_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
