#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "logs/fifo.h"
#include "reactor/cleanup.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct fixture {
    char *dir, *path;
};

static struct fixture set_up(void)
{
    char *dir = scratch_dir_new();

    return (struct fixture){ .dir = dir, .path = scratch_dir_path(dir, "out") };
}

static void tear_down(struct fixture *fixture)
{
    free(fixture->path);
    scratch_dir_free(fixture->dir);
}

static void make_file(const char *path, const char *content)
{
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
}

static void test_made_fifo_is_open_to_all_whatever_the_umask(void **state)
{
    struct fixture fixture = set_up();
    struct stat st;

    (void)state;
    mode_t before = umask(0077);
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, NULL), 0);
    umask(before);
    assert_int_equal(stat(fixture.path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0666);
    tear_down(&fixture);
}

static void test_made_fifo_may_be_relative_to_a_directory(void **state)
{
    struct fixture fixture = set_up();
    CLEANUP_CLOSE int dir_fd = open(fixture.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_int_equal(fifo_make(dir_fd, "out", NULL), 0);
    CLEANUP_CLOSE int fd = fifo_open_payload(AT_FDCWD, fixture.path, NULL);
    assert_true(fd >= 0);
    tear_down(&fixture);
}

static void test_fifo_that_is_there_keeps_its_content(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, NULL), 0);
    CLEANUP_CLOSE int fd = fifo_open_payload(AT_FDCWD, fixture.path, NULL);
    assert_int_equal(write(fd, "bytes", 5), 5);
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, NULL), 0);
    assert_int_equal(fifo_unread(fd), 5);
    tear_down(&fixture);
}

static void test_file_in_the_way_of_our_fifo_is_refused(void **state)
{
    struct fixture fixture = set_up();
    CLEANUP_FAIL struct fail fail = {}, other = {};

    (void)state;
    make_file(fixture.path, "");
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, &fail), -EEXIST);
    assert_non_null(strstr(fail_text(&fail), fixture.path));
    assert_int_equal(fifo_open_source(AT_FDCWD, fixture.path, &other), -EINVAL);
    tear_down(&fixture);
}

static void test_payload_end_blocks_and_source_end_does_not(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, NULL), 0);
    CLEANUP_CLOSE int payload = fifo_open_payload(AT_FDCWD, fixture.path, NULL);
    CLEANUP_CLOSE int source = fifo_open_source(AT_FDCWD, fixture.path, NULL);
    assert_int_equal(fcntl(payload, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    assert_int_equal(fcntl(source, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
    assert_int_equal(fcntl(payload, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(source, F_GETFD), FD_CLOEXEC);
    tear_down(&fixture);
}

static void test_target_without_reader_is_opened_to_write_only(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    CLEANUP_CLOSE int target = fifo_open_target(fixture.path, NULL);
    assert_int_equal(fcntl(target, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY | O_NONBLOCK);
    assert_int_equal(fcntl(target, F_GETFD), FD_CLOEXEC);
    assert_false(fifo_has_reader(target));
    CLEANUP_CLOSE int reader = open(fixture.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_true(fifo_has_reader(target));
    tear_down(&fixture);
}

static void test_target_may_be_the_null_device_or_a_file(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    make_file(fixture.path, "before ");
    CLEANUP_CLOSE int null = fifo_open_target(fifo_target_path(NULL), NULL);
    CLEANUP_CLOSE int file = fifo_open_target(fixture.path, NULL);
    assert_true(null >= 0);
    assert_true(fifo_has_reader(null));
    assert_true(fifo_has_reader(file));
    assert_int_equal(fifo_unread(file), 0);
    assert_int_equal(lseek(file, 0, SEEK_CUR), 7);
    assert_string_equal(fifo_target_path(""), "/dev/null");
    tear_down(&fixture);
}

static void assert_refused(const char *path, int error)
{
    CLEANUP_FAIL struct fail fail = {};

    assert_int_equal(fifo_open_target(path, &fail), error);
    assert_non_null(strstr(fail_text(&fail), path));
}

static void test_other_targets_are_refused_by_name(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_refused(fixture.path, -ENOENT);
    assert_refused(fixture.dir, -EINVAL);
    assert_refused("/dev/zero", -EINVAL);
    assert_int_equal(symlink("/dev/null", fixture.path), 0);
    assert_refused(fixture.path, -ELOOP);
    tear_down(&fixture);
}

static void test_path_that_leads_elsewhere_is_noticed(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    CLEANUP_CLOSE int target = fifo_open_target(fixture.path, NULL);
    assert_true(fifo_is_at(target, fixture.path));
    assert_int_equal(unlink(fixture.path), 0);
    assert_false(fifo_is_at(target, fixture.path));
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    assert_false(fifo_is_at(target, fixture.path));
    tear_down(&fixture);
}

static void test_enlarged_fifo_holds_more_and_keeps_its_bytes(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(fifo_make(AT_FDCWD, fixture.path, NULL), 0);
    CLEANUP_CLOSE int fd = fifo_open_source(AT_FDCWD, fixture.path, NULL);
    assert_int_equal(write(fd, "bytes", 5), 5);
    int before = fcntl(fd, F_GETPIPE_SZ);
    fifo_enlarge(fd);
    assert_true(fcntl(fd, F_GETPIPE_SZ) >= before);
    assert_true(fcntl(fd, F_GETPIPE_SZ) <= FIFO_BYTES_MAX);
    assert_int_equal(fifo_unread(fd), 5);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_made_fifo_is_open_to_all_whatever_the_umask),
        FD_LEAK_TEST(test_made_fifo_may_be_relative_to_a_directory),
        FD_LEAK_TEST(test_fifo_that_is_there_keeps_its_content),
        FD_LEAK_TEST(test_file_in_the_way_of_our_fifo_is_refused),
        FD_LEAK_TEST(test_payload_end_blocks_and_source_end_does_not),
        FD_LEAK_TEST(test_target_without_reader_is_opened_to_write_only),
        FD_LEAK_TEST(test_target_may_be_the_null_device_or_a_file),
        FD_LEAK_TEST(test_other_targets_are_refused_by_name),
        FD_LEAK_TEST(test_path_that_leads_elsewhere_is_noticed),
        FD_LEAK_TEST(test_enlarged_fifo_holds_more_and_keeps_its_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
