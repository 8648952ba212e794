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

#include "logs/target_await.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct fixture {
    char *dir, *path;
    sd_event *event;
    struct target_await *op;
    bool was_opened;
    int fd;
    char *message;
};

static struct fixture set_up(void)
{
    struct fixture fixture = { .dir = scratch_dir_new(), .fd = -EBADF };

    fixture.path = scratch_dir_path(fixture.dir, "fifo");
    assert_true(sd_event_new(&fixture.event) >= 0);
    return fixture;
}

static void tear_down(struct fixture *fixture)
{
    close_fd(fixture->fd);
    free(fixture->message);
    sd_event_unref(fixture->event);
    free(fixture->path);
    scratch_dir_free(fixture->dir);
}

static void on_opened(int fd, const struct fail *fail, void *data)
{
    struct fixture *fixture = data;

    assert_false(fixture->was_opened);
    assert_true((fd < 0) == (fail != NULL));
    fixture->was_opened = true;
    fixture->op = NULL;
    fixture->fd = fd;
    if (fail != NULL)
        fixture->message = strdup(fail_text(fail));
}

static void start(struct fixture *fixture, uint64_t wait_usec)
{
    assert_int_equal(target_await_start(fixture->event, fixture->path, wait_usec, on_opened,
                                        fixture, &fixture->op, NULL),
                     0);
    assert_false(fixture->was_opened);
}

static void assert_opened(struct fixture *fixture)
{
    assert_true(event_run_until_set(fixture->event, &fixture->was_opened));
    assert_true(fixture->fd >= 0);
    assert_int_equal(fcntl(fixture->fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY);
    assert_int_equal(fcntl(fixture->fd, F_GETFD), FD_CLOEXEC);
}

static void test_fifo_is_opened_without_a_reader(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    start(&fixture, TARGET_AWAIT_USEC);
    assert_opened(&fixture);
    tear_down(&fixture);
}

static void test_fifo_that_appears_is_opened(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    start(&fixture, TARGET_AWAIT_USEC);
    event_run_pending(fixture.event);
    assert_false(fixture.was_opened);
    assert_int_equal(event_count_during(fixture.event, 50000), 0);
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    assert_opened(&fixture);
    tear_down(&fixture);
}

static void test_fifo_that_is_moved_here_is_opened(void **state)
{
    struct fixture fixture = set_up();
    CLEANUP_FREE char *elsewhere = scratch_dir_path(fixture.dir, "elsewhere");

    (void)state;
    start(&fixture, TARGET_AWAIT_USEC);
    event_run_pending(fixture.event);
    assert_int_equal(mkfifo(elsewhere, 0600), 0);
    event_run_pending(fixture.event);
    assert_false(fixture.was_opened);
    assert_int_equal(rename(elsewhere, fixture.path), 0);
    assert_opened(&fixture);
    tear_down(&fixture);
}

static void test_fifo_that_never_comes_is_told(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    start(&fixture, 1000);
    assert_true(event_run_until_set(fixture.event, &fixture.was_opened));
    assert_int_equal(fixture.fd, -ETIMEDOUT);
    assert_non_null(strstr(fixture.message, fixture.path));
    tear_down(&fixture);
}

static void test_missing_directory_is_told_at_once(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    free(fixture.path);
    fixture.path = scratch_dir_path(fixture.dir, "nowhere/fifo");
    start(&fixture, UINT64_C(3600) * 1000000);
    assert_true(event_run_until_set(fixture.event, &fixture.was_opened));
    assert_int_equal(fixture.fd, -ENOENT);
    assert_non_null(strstr(fixture.message, fixture.path));
    tear_down(&fixture);
}

static void test_wrong_kind_is_told(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    assert_int_equal(mkdir(fixture.path, 0700), 0);
    start(&fixture, TARGET_AWAIT_USEC);
    assert_true(event_run_until_set(fixture.event, &fixture.was_opened));
    assert_int_equal(fixture.fd, -EINVAL);
    tear_down(&fixture);
}

static void test_freed_op_is_silent(void **state)
{
    struct fixture fixture = set_up();

    (void)state;
    start(&fixture, 1000);
    event_run_pending(fixture.event);
    fixture.op = target_await_free(fixture.op);
    assert_int_equal(mkfifo(fixture.path, 0600), 0);
    assert_int_equal(event_count_during(fixture.event, 20000), 0);
    assert_false(fixture.was_opened);

    start(&fixture, 1000);
    fixture.op = target_await_free(fixture.op);
    event_run_pending(fixture.event);
    assert_false(fixture.was_opened);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_fifo_is_opened_without_a_reader),
        FD_LEAK_TEST(test_fifo_that_appears_is_opened),
        FD_LEAK_TEST(test_fifo_that_is_moved_here_is_opened),
        FD_LEAK_TEST(test_fifo_that_never_comes_is_told),
        FD_LEAK_TEST(test_missing_directory_is_told_at_once),
        FD_LEAK_TEST(test_wrong_kind_is_told),
        FD_LEAK_TEST(test_freed_op_is_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
