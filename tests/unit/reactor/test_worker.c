#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/worker.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

struct scene {
    sd_event *event;
    bool done;
    int error;
};

static void on_done(int error, void *data)
{
    struct scene *scene = data;

    scene->done = true;
    scene->error = error;
}

static int work(const void *args)
{
    const int *what = args;

    if (*what == SIGKILL)
        (void)raise(SIGKILL);
    while (*what == SIGALRM)
        (void)pause();
    return *what;
}

static void expect(int what, int error)
{
    struct scene scene = {};

    assert_int_equal(sd_event_new(&scene.event), 0);
    assert_non_null(worker_new(scene.event, work, &what, 1, on_done, &scene));
    assert_true(event_run_until_set(scene.event, &scene.done));
    assert_int_equal(scene.error, error);
    sd_event_unref(scene.event);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_result_is_told(void **state)
{
    (void)state;
    expect(0, 0);
    expect(-ENOSPC, -ENOSPC);
    expect(SIGKILL, -EINTR);
}

static void test_work_has_an_end(void **state)
{
    (void)state;
    expect(SIGALRM, -ETIMEDOUT);
}

static void test_one_that_is_freed_is_killed_and_calls_nobody(void **state)
{
    struct scene scene = {};
    int what = SIGALRM;

    (void)state;
    assert_int_equal(sd_event_new(&scene.event), 0);
    assert_null(worker_free(worker_new(scene.event, work, &what, 60, on_done, &scene)));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_false(scene.done);
    sd_event_unref(scene.event);
}

/* Else whoever reads from us would get no end of file before the work is done. */
static void test_what_we_have_open_is_not_held_by_it(void **state)
{
    struct scene scene = {};
    int what = SIGALRM, fds[2];

    (void)state;
    assert_int_equal(sd_event_new(&scene.event), 0);
    assert_int_equal(pipe(fds), 0);
    struct worker *worker = worker_new(scene.event, work, &what, 60, on_done, &scene);
    assert_non_null(worker);
    assert_int_equal(close(fds[1]), 0);
    struct pollfd end = { .fd = fds[0], .events = POLLIN };
    assert_int_equal(poll(&end, 1, (int)(EVENT_DEADLINE_USEC / 1000)), 1);
    assert_int_equal(end.revents, POLLHUP);
    assert_int_equal(close(fds[0]), 0);
    assert_null(worker_free(worker));
    sd_event_unref(scene.event);
}

#define N_AT_ONCE 50

static void on_one_of_many(int error, void *data)
{
    unsigned *n_done = data;

    assert_int_equal(error, 0);
    ++*n_done;
}

static bool all_done(void *data)
{
    return *(unsigned *)data == N_AT_ONCE;
}

/* Each has been forked with the descriptors of those before it. */
static void test_many_at_once(void **state)
{
    sd_event *event = NULL;
    unsigned n_done = 0;
    int what = 0;

    (void)state;
    assert_int_equal(sd_event_new(&event), 0);
    for (int i = 0; i < N_AT_ONCE; i++)
        assert_non_null(worker_new(event, work, &what, 60, on_one_of_many, &n_done));
    assert_true(event_run_until(event, all_done, &n_done));
    sd_event_unref(event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_result_is_told),
        FD_LEAK_TEST(test_work_has_an_end),
        FD_LEAK_TEST(test_what_we_have_open_is_not_held_by_it),
        FD_LEAK_TEST(test_many_at_once),
        FD_LEAK_TEST(test_one_that_is_freed_is_killed_and_calls_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
