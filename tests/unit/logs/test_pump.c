#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "logs/fifo.h"
#include "logs/pump.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/logs/pump_fixture.h"
#include "tests/support/scratch_dir.h"

/* In which nothing must happen. Longer than anything that is merely slow to come. */
#define IDLE_USEC 100000

static void assert_idle(struct pump_fixture *f)
{
    event_run_pending(f->event);
    assert_int_equal(event_count_during(f->event, IDLE_USEC), 0);
}

/* --- order, exactly once --------------------------------------------------------------------- */

static const struct {
    size_t n, n_write, n_read;
} transfers[] = {
    { 3000, 1, 65536 },            /* each byte a piece */
    { 3000, 7, 1 },                /* a reader of single bytes */
    { 200000, 100, 65536 },        /* lines */
    { 4 << 20, 4096, 65536 },      /* pages */
    { 4 << 20, 65536, 65536 },     /* pipes full */
    { 4 << 20, 256 << 10, 32768 }, /* more than fits */
    { 1 << 20, 5000, 999 },        /* a slow reader */
};

static void transfer_all(bool remember_tail)
{
    for (size_t i = 0; i < sizeof(transfers) / sizeof(transfers[0]); i++) {
        struct pump_fixture f;

        pump_fixture_init(&f);
        pump_fixture_start(&f, remember_tail);
        pump_fixture_transfer(&f, transfers[i].n, transfers[i].n_write, transfers[i].n_read);
        assert_idle(&f);
        pump_fixture_done(&f);
    }
}

static void test_bytes_arrive_once_and_in_order(void **state)
{
    (void)state;
    transfer_all(false);
}

static void test_bytes_arrive_once_and_in_order_with_tail(void **state)
{
    (void)state;
    transfer_all(true);
}

static void test_what_was_written_before_the_start_arrives(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    assert_int_equal(pump_fixture_write(&f, 5000), 5000);
    pump_fixture_start(&f, false);
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

static void test_task_without_writers_does_not_wake_the_loop(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    assert_idle(&f);
    (void)pump_fixture_write(&f, 100);
    f.payload = close_fd(f.payload);
    pump_fixture_read_all(&f);
    assert_idle(&f);
    pump_fixture_done(&f);
}

static void test_nothing_is_taken_while_the_collector_does_not_read(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    /* A slot each, so the target is full of almost nothing; then small writes merge in the source. */
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(pump_fixture_write(&f, 10), 10);
        event_run_pending(f.event);
    }
    assert_true(fifo_unread(f.payload) > 0);
    assert_true(fifo_unread(f.reader) > 16 * 10);
    assert_idle(&f);
    pump_fixture_read_all(&f);
    assert_idle(&f);
    pump_fixture_done(&f);
}

static void test_one_turn_is_bounded(void **state)
{
    struct pump_fixture f;
    struct rlimit limit;

    (void)state;
    pump_fixture_init(&f);
    /* Both pipes large, so that only the bound can end a turn. */
    fifo_enlarge(f.payload);
    fifo_enlarge(f.holder);
    if (fcntl(f.payload, F_GETPIPE_SZ) < (1 << 20) || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        skip();
    pump_fixture_start(&f, false);
    while (pump_fixture_write(&f, 65536) > 0)
        ;
    assert_true(sd_event_run(f.event, 0) > 0);
    assert_in_range(fifo_unread(f.reader), 1, 256 * 1024);
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

/* --- collectors that come and go ------------------------------------------------------------- */

static void test_collector_that_is_gone_and_comes_back_gets_everything(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    for (unsigned i = 0; i < 3; i++) {
        pump_fixture_transfer(&f, 100000, 1000, 65536);
        assert_true(pump_fixture_write(&f, 3000) > 0);
        event_run_pending(f.event);
        pump_fixture_close_reader(&f);
        pump_fixture_fill(&f, 1000);
        assert_idle(&f);
        pump_fixture_open_reader(&f);
        pump_fixture_read_all(&f);
    }
    pump_fixture_done(&f);
}

static void test_collector_that_dies_while_its_pipe_is_full(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    pump_fixture_fill(&f, 4096);
    assert_idle(&f);
    pump_fixture_close_reader(&f);
    assert_idle(&f);
    pump_fixture_open_reader(&f);
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

static void test_first_collector_may_come_late(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_close_reader(&f);
    f.holder = close_fd(f.holder);
    pump_fixture_start(&f, false);
    pump_fixture_fill(&f, 1000);
    assert_idle(&f);
    pump_fixture_open_reader(&f);
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

static void *open_blocking(void *data)
{
    struct pump_fixture *f = data;
    int fd = open(f->target, O_RDONLY | O_CLOEXEC);

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return (void *)(intptr_t)fd;
}

/* Nomad's opens this way, and is not seen by inotify while it waits for a writer. */
static void test_collector_that_blocks_in_its_open_is_let_in(void **state)
{
    struct pump_fixture f;
    pthread_t thread;
    void *fd;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_close_reader(&f);
    f.holder = close_fd(f.holder);
    assert_int_equal(pthread_create(&thread, NULL, open_blocking, &f), 0);
    (void)pump_fixture_write(&f, 5000);
    pump_fixture_start(&f, false);
    event_run_pending(f.event);
    assert_int_equal(pthread_join(thread, &fd), 0);
    f.reader = (int)(intptr_t)fd;
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

static void test_missing_target_is_waited_for(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_close_reader(&f);
    assert_int_equal(unlink(f.target), 0);
    pump_fixture_start(&f, false);
    pump_fixture_fill(&f, 1000);
    assert_idle(&f);
    assert_int_equal(mkfifo(f.target, 0600), 0);
    assert_idle(&f);
    pump_fixture_open_reader(&f);
    pump_fixture_read_all(&f);
    assert_false(f.was_replaced);
    pump_fixture_done(&f);
}

static void test_replaced_target_gets_what_the_old_one_kept(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    pump_fixture_fill(&f, 1000);
    (void)pump_fixture_read(&f, 12345);
    pump_fixture_close_reader(&f);
    assert_idle(&f);
    assert_true(fifo_unread(f.holder) > 0);
    assert_int_equal(unlink(f.target), 0);
    assert_int_equal(mkfifo(f.target, 0600), 0);
    event_run_pending(f.event);
    assert_true(f.was_replaced);
    pump_fixture_open_reader(&f);
    pump_fixture_read_all(&f);
    assert_idle(&f);
    pump_fixture_transfer(&f, 100000, 1000, 65536);
    pump_fixture_done(&f);
}

static void test_two_pumps_that_wait_for_one_target_let_each_other_sleep(void **state)
{
    struct pump_fixture f;
    struct pump_args args;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_close_reader(&f);
    pump_fixture_start(&f, false);
    args = (struct pump_args){ .task = "task", .stream = "stderr", .source_dir_fd = AT_FDCWD,
                               .source = f.source, .target = f.target };
    struct pump *other;
    assert_int_equal(pump_new(f.event, &args, &other, NULL), 0);
    (void)pump_fixture_write(&f, 100);
    assert_idle(&f);
    pump_free(other);
    pump_fixture_done(&f);
}

/* --- targets that are no FIFOs --------------------------------------------------------------- */

static void set_target(struct pump_fixture *f, const char *target)
{
    free(f->target);
    f->target = target != NULL ? strdup(target) : NULL;
}

static void test_null_device_swallows_everything(void **state)
{
    static const char *const targets[] = { "/dev/null", "", NULL };

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct pump_fixture f;

        pump_fixture_init(&f);
        set_target(&f, targets[i]);
        pump_fixture_start(&f, false);
        while (f.n_written < (1 << 20)) {
            (void)pump_fixture_write(&f, 65536);
            event_run_pending(f.event);
        }
        pump_fixture_finish(&f, 0);
        pump_fixture_expect_end(&f, 0);
        assert_int_equal(fifo_unread(f.payload), 0);
        pump_fixture_done(&f);
    }
}

static void test_regular_file_is_appended_to_across_plugins(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    CLEANUP_FREE char *file = scratch_dir_path(f.dir, "file");
    f.reader = close_fd(f.reader);
    f.reader = open(file, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    set_target(&f, file);
    pump_fixture_start(&f, false);
    for (unsigned i = 0; i < 5; i++) {
        (void)pump_fixture_write(&f, 30000);
        pump_fixture_read_all(&f);
        pump_fixture_restart(&f);
    }
    assert_idle(&f);
    pump_fixture_finish(&f, 0);
    pump_fixture_expect_end(&f, 0);
    pump_fixture_done(&f);
}

static void assert_refused(struct pump_fixture *f, const char *source, const char *target, int error)
{
    struct pump_args args = { .task = "task", .stream = "stdout", .source_dir_fd = AT_FDCWD,
                              .source = source, .target = target };
    CLEANUP_FAIL struct fail fail = {};
    struct pump *pump;

    assert_int_equal(pump_new(f->event, &args, &pump, &fail), error);
    assert_non_null(fail.message);
}

static void test_what_can_not_be_pumped_is_told(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    assert_refused(&f, f.dir, f.target, -EISDIR);
    assert_refused(&f, "/dev/null", f.target, -EINVAL);
    assert_refused(&f, "/no/such/fifo", f.target, -ENOENT);
    assert_refused(&f, f.source, f.dir, -EINVAL);
    assert_refused(&f, f.source, "/dev/zero", -EINVAL);
    pump_fixture_done(&f);
}

/* Descriptors run out at each of the places where one is needed. */
static void test_new_with_too_few_descriptors_leaves_nothing(void **state)
{
    struct pump_fixture f;
    struct rlimit before, limit;
    int r = -EMFILE;
    unsigned n_failed = 0;

    (void)state;
    pump_fixture_init(&f);
    struct pump_args args = { .task = "task", .stream = "stdout", .source_dir_fd = AT_FDCWD,
                              .source = f.source, .target = f.target };
    CLEANUP_CLOSE int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (limit = before, limit.rlim_cur = (rlim_t)next + 1; r < 0; limit.rlim_cur++, n_failed++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        r = pump_new(f.event, &args, &f.pump, NULL);
        assert_true(r == 0 || r == -EMFILE);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(n_failed >= 2);
    pump_fixture_transfer(&f, 10000, 1000, 65536);
    pump_fixture_done(&f);
}

/* --- recovery -------------------------------------------------------------------------------- */

static void test_new_pump_goes_on_where_the_old_one_was(void **state)
{
    struct pump_fixture f;

    (void)state;
    pump_fixture_init(&f);
    pump_fixture_start(&f, false);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned n_writes = 0; n_writes < i * 10; n_writes++)
            (void)pump_fixture_write(&f, 777);
        event_run_pending(f.event);
        (void)pump_fixture_read(&f, 3000);
        pump_fixture_restart(&f);
    }
    pump_fixture_read_all(&f);
    pump_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_bytes_arrive_once_and_in_order),
        FD_LEAK_TEST(test_bytes_arrive_once_and_in_order_with_tail),
        FD_LEAK_TEST(test_what_was_written_before_the_start_arrives),
        FD_LEAK_TEST(test_task_without_writers_does_not_wake_the_loop),
        FD_LEAK_TEST(test_nothing_is_taken_while_the_collector_does_not_read),
        FD_LEAK_TEST(test_one_turn_is_bounded),
        FD_LEAK_TEST(test_collector_that_is_gone_and_comes_back_gets_everything),
        FD_LEAK_TEST(test_collector_that_dies_while_its_pipe_is_full),
        FD_LEAK_TEST(test_first_collector_may_come_late),
        FD_LEAK_TEST(test_collector_that_blocks_in_its_open_is_let_in),
        FD_LEAK_TEST(test_missing_target_is_waited_for),
        FD_LEAK_TEST(test_replaced_target_gets_what_the_old_one_kept),
        FD_LEAK_TEST(test_two_pumps_that_wait_for_one_target_let_each_other_sleep),
        FD_LEAK_TEST(test_null_device_swallows_everything),
        FD_LEAK_TEST(test_regular_file_is_appended_to_across_plugins),
        FD_LEAK_TEST(test_what_can_not_be_pumped_is_told),
        FD_LEAK_TEST(test_new_with_too_few_descriptors_leaves_nothing),
        FD_LEAK_TEST(test_new_pump_goes_on_where_the_old_one_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
