/* The file with a task's environment, in a /run of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/nspawn/settings_file.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"

#define PATH SETTINGS_FILE_DIR "/web-1.nspawn"

static void expect_content(const char *text)
{
    char buffer[64];
    struct stat st;

    CLEANUP_CLOSE int fd = open(PATH, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(read(fd, buffer, sizeof(buffer)), strlen(text));
    assert_memory_equal(buffer, text, strlen(text));
}

static void make_parent(void)
{
    assert_true(mkdir("/run/systemd", 0755) == 0 || errno == EEXIST);
}

static void test_file_is_for_root_alone_and_goes_away(void **state)
{
    struct fail fail = {};

    (void)state;
    make_parent();
    assert_int_equal(settings_file_write("web-1", "[Exec]\n", &fail), 0);
    expect_content("[Exec]\n");
    assert_int_equal(settings_file_write("web-1", "", &fail), 0);
    expect_content("");
    settings_file_remove("web-1");
    assert_int_equal(access(PATH, F_OK), -1);
    settings_file_remove("web-1");
}

static void test_what_is_there_is_replaced_and_not_written_to(void **state)
{
    struct fail fail = {};
    struct stat st;

    (void)state;
    make_parent();
    assert_true(mkdir(SETTINGS_FILE_DIR, 0755) == 0 || errno == EEXIST);
    assert_int_equal(symlink("/run/other", PATH), 0);
    assert_int_equal(settings_file_write("web-1", "secret", &fail), 0);
    expect_content("secret");
    assert_int_equal(lstat("/run/other", &st), -1);
    settings_file_remove("web-1");
}

static void test_failures_name_the_place(void **state)
{
    struct fail fail = {};

    (void)state;
    make_parent();
    assert_true(rmdir(SETTINGS_FILE_DIR) == 0 || errno == ENOENT);
    CLEANUP_CLOSE int fd = open(SETTINGS_FILE_DIR, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    expect_fail_with(settings_file_write("web-1", "x", &fail), &fail, -ENOTDIR,
                     "cannot write '" PATH "'");
    assert_int_equal(unlink(SETTINGS_FILE_DIR), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_file_is_for_root_alone_and_goes_away),
        FD_LEAK_TEST(test_what_is_there_is_replaced_and_not_written_to),
        FD_LEAK_TEST(test_failures_name_the_place),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
