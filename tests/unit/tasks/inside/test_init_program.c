#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/init_program.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

static void expect_content(const char *path)
{
    const uint8_t *bytes;
    size_t n_bytes;
    struct stat stat;

    init_program_bytes(&bytes, &n_bytes);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &stat) == 0);
    assert_int_equal(stat.st_mode & 07777, 0755);
    CLEANUP_FREE uint8_t *found = alloc_zero(n_bytes + 1, 1);
    assert_int_equal(read(fd, found, n_bytes + 1), n_bytes);
    assert_memory_equal(found, bytes, n_bytes);
}

static void test_it_is_a_static_program(void **state)
{
    const uint8_t *bytes;
    size_t n_bytes;

    (void)state;
    init_program_bytes(&bytes, &n_bytes);
    assert_in_range(n_bytes, 4096, 128 * 1024);
    assert_memory_equal(bytes, "\177ELF", 4);
    assert_null(memmem(bytes, n_bytes, "/lib/ld-", strlen("/lib/ld-")));
}

static void test_the_file_is_made_once_and_again_when_it_was_changed(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *first = NULL, *second = NULL, *third = NULL;
    const char *dirs[] = { dir, NULL };
    struct stat before, after;

    (void)state;
    assert_int_equal(init_program_file_in(dirs, &first, NULL), 0);
    expect_content(first);
    assert_int_equal(stat(first, &before), 0);
    assert_int_equal(init_program_file_in(dirs, &second, NULL), 0);
    assert_string_equal(first, second);
    assert_int_equal(stat(second, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);

    assert_int_equal(truncate(first, 100), 0);
    assert_int_equal(init_program_file_in(dirs, &third, NULL), 0);
    expect_content(third);
    scratch_dir_free(dir);
}

static void test_the_next_directory_is_taken_where_one_cannot_be_used(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *path = NULL;
    const char *dirs[] = { "/proc/nowhere", dir, NULL };

    (void)state;
    assert_int_equal(init_program_file_in(dirs, &path, NULL), 0);
    assert_memory_equal(path, dir, strlen(dir));
    scratch_dir_free(dir);
}

static void test_each_directory_that_cannot_be_used_is_named(void **state)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *path = NULL;
    const char *dirs[] = { "/proc/nowhere", "/proc", NULL };

    (void)state;
    expect_fail_with(init_program_file_in(dirs, &path, &fail), &fail, -ENOEXEC,
                     "'/proc/nowhere' (No such file or directory), '/proc' (");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_it_is_a_static_program),
        FD_LEAK_TEST(test_the_file_is_made_once_and_again_when_it_was_changed),
        FD_LEAK_TEST(test_the_next_directory_is_taken_where_one_cannot_be_used),
        FD_LEAK_TEST(test_each_directory_that_cannot_be_used_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
