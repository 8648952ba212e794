/* The whole way of a task's output: written to our FIFOs, moved by the pumps, read from Nomad's by a
 * collector, with a systemd that holds Nomad's open. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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
#include "tasks/lifecycle/task_logs.h"
#include "tasks/persist/runtime_dir.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/systemd/fake_systemd.h"

#define HOLDER "nspawn-web-logs.service"

enum { OUT, ERR, N_STREAMS };

static const char *const fifo_names[N_STREAMS] = { RUNTIME_DIR_STDOUT, RUNTIME_DIR_STDERR };

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct fake_systemd *systemd;
    struct bus *bus;
    struct units *units;
    struct task_logs *logs;
    char *dir, *targets[N_STREAMS];
    int dir_fd;
    int readers[N_STREAMS];       /* the collector's */
    int payloads[N_STREAMS];      /* the task's */
    struct strv texts[N_STREAMS]; /* what the collector has read */
    bool is_at_end[N_STREAMS];
    bool is_held, is_finished;
    struct fail hold_fail, finish_fail;
};

static void open_reader(struct scene *scene, int stream)
{
    scene->readers[stream] = open(scene->targets[stream], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(scene->readers[stream] >= 0);
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    (void)signal(SIGPIPE, SIG_IGN); /* as main does */
    scene->dir = scratch_dir_new();
    scene->dir_fd = open(scene->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < N_STREAMS; i++) {
        scene->targets[i] = alloc_printf("%s/nomad.%s.fifo", scene->dir, fifo_names[i]);
        assert_int_equal(mkfifo(scene->targets[i], 0600), 0);
        open_reader(scene, i);
        scene->payloads[i] = -EBADF;
    }
    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    scene->systemd = fake_systemd_new(scene->fake, scene->event);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->units = units_new(scene->bus);
    return scene;
}

static void scene_free(struct scene *scene)
{
    task_logs_free(scene->logs);
    units_free(scene->units);
    bus_free(scene->bus);
    fake_systemd_free(scene->systemd);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    for (int i = 0; i < N_STREAMS; i++) {
        close_fd(scene->readers[i]);
        close_fd(scene->payloads[i]);
        strv_done(&scene->texts[i]);
        free(scene->targets[i]);
    }
    close_fd(scene->dir_fd);
    scratch_dir_free(scene->dir);
    fail_done(&scene->hold_fail);
    fail_done(&scene->finish_fail);
    free(scene);
}

static int make_logs(struct scene *scene, bool recovered, struct fail *fail)
{
    const struct task_logs_args args = {
        .task = "a/web/1",
        .dir_fd = scene->dir_fd,
        .stdout_path = scene->targets[OUT],
        .stderr_path = scene->targets[ERR],
        .holder = HOLDER,
        .slice = "nspawn-1.slice",
        .recovered = recovered,
    };

    return task_logs_new(scene->units, &args, &scene->logs, fail);
}

static void open_payload(struct scene *scene)
{
    assert_int_equal(task_logs_open_payload(scene->logs, &scene->payloads[OUT],
                                            &scene->payloads[ERR], NULL),
                     0);
}

/* A task's logs as they are when the task runs, but for the holding unit. */
static struct scene *scene_with_logs(void)
{
    struct scene *scene = scene_new();

    assert_int_equal(make_logs(scene, false, NULL), 0);
    open_payload(scene);
    return scene;
}

/* --- the collector --------------------------------------------------------------------------- */

static void read_stream(struct scene *scene, int stream)
{
    char bytes[512];
    ssize_t n;

    while ((n = read(scene->readers[stream], bytes, sizeof(bytes))) > 0)
        strv_push_owned(&scene->texts[stream], alloc_strndup(bytes, (size_t)n));
    if (n == 0)
        scene->is_at_end[stream] = true;
}

static void expect_read(struct scene *scene, int stream, const char *expected)
{
    event_run_pending(scene->event);
    read_stream(scene, stream);
    CLEANUP_FREE char *text = strv_join(&scene->texts[stream], "");
    assert_string_equal(text, expected);
}

static bool is_at_end(struct scene *scene, int stream)
{
    char byte;

    return read(scene->readers[stream], &byte, 1) == 0;
}

static void say(struct scene *scene, int stream, const char *text)
{
    assert_int_equal(write(scene->payloads[stream], text, strlen(text)), strlen(text));
}

/* --- waiting --------------------------------------------------------------------------------- */

static void on_held(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_false(scene->is_held);
    scene->is_held = true;
    if (fail != NULL)
        fail_copy(&scene->hold_fail, fail);
}

static void on_finished(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_false(scene->is_finished);
    scene->is_finished = true;
    if (fail != NULL)
        fail_copy(&scene->finish_fail, fail);
}

static void hold(struct scene *scene)
{
    assert_int_equal(task_logs_hold(scene->logs, on_held, scene, NULL), 0);
    assert_false(scene->is_held);
    assert_true(event_run_until_set(scene->event, &scene->is_held));
}

static void finish(struct scene *scene)
{
    task_logs_finish(scene->logs, on_finished, scene);
    assert_false(scene->is_finished);
    assert_true(event_run_until_set(scene->event, &scene->is_finished));
    event_run_pending(scene->event);
}

/* --- the way of the bytes -------------------------------------------------------------------- */

static void test_both_streams_reach_the_collector_apart(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    say(scene, OUT, "out");
    say(scene, ERR, "err");
    expect_read(scene, OUT, "out");
    expect_read(scene, ERR, "err");
    scene_free(scene);
}

static void test_any_user_inside_may_open_the_fifos(void **state)
{
    mode_t before = umask(077);
    struct scene *scene = scene_with_logs();

    (void)state;
    (void)umask(before);
    for (int i = 0; i < N_STREAMS; i++) {
        struct stat st;
        assert_int_equal(fstatat(scene->dir_fd, fifo_names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode, S_IFIFO | 0666);
        assert_int_equal(fcntl(scene->payloads[i], F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    }
    scene_free(scene);
}

static void test_output_without_a_place_goes_nowhere(void **state)
{
    struct scene *scene = scene_new();
    const struct task_logs_args args = {
        .task = "a/web/1",
        .dir_fd = scene->dir_fd,
        .stdout_path = "",
        .holder = HOLDER,
        .slice = "nspawn-1.slice",
    };

    (void)state;
    assert_int_equal(task_logs_new(scene->units, &args, &scene->logs, NULL), 0);
    open_payload(scene);
    say(scene, OUT, "unheard");
    say(scene, ERR, "unheard");
    hold(scene);
    assert_int_equal(scene->hold_fail.error, 0);
    finish(scene);
    assert_int_equal(scene->finish_fail.error, 0);
    scene_free(scene);
}

/* --- the holding unit ------------------------------------------------------------------------ */

static bool leads_to(int fd, const char *path)
{
    struct stat st, named;

    return fstat(fd, &st) == 0 && stat(path, &named) == 0 && st.st_ino == named.st_ino;
}

static void test_unit_holds_nomad_s_fifos_when_the_plugin_dies(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    assert_int_equal(scene->hold_fail.error, 0);
    assert_int_equal(fake_systemd_n_units(scene->systemd), 1);
    assert_true(leads_to(fake_systemd_stdout(scene->systemd, HOLDER), scene->targets[OUT]));
    assert_true(leads_to(fake_systemd_stderr(scene->systemd, HOLDER), scene->targets[ERR]));
    say(scene, OUT, "before");
    expect_read(scene, OUT, "before");
    scene->logs = task_logs_free(scene->logs);
    assert_false(is_at_end(scene, OUT));
    assert_false(is_at_end(scene, ERR));
    /* What was written meanwhile waits for the new plugin. */
    say(scene, OUT, " between");
    assert_int_equal(make_logs(scene, true, NULL), 0);
    say(scene, OUT, " after");
    expect_read(scene, OUT, "before between after");
    scene_free(scene);
}

static void test_plugin_keeps_nothing_of_what_the_unit_holds(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    scene->logs = task_logs_free(scene->logs);
    scene->systemd = fake_systemd_free(scene->systemd);
    event_run_pending(scene->event);
    assert_true(is_at_end(scene, OUT));
    assert_true(is_at_end(scene, ERR));
    scene_free(scene);
}

static void test_unit_that_does_not_start_is_told(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    fake_systemd_end_jobs(scene->systemd, "failed");
    hold(scene);
    expect_fail(scene->hold_fail.error, &scene->hold_fail, -EIO,
                "systemd could not start '" HOLDER "': job failed");
    scene_free(scene);
}

static void test_fifo_of_nomad_that_can_t_be_opened_is_told(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *missing = scratch_dir_path(scene->dir, "nowhere/fifo");
    const struct task_logs_args args = {
        .task = "a/web/1",
        .dir_fd = scene->dir_fd,
        .stdout_path = scene->targets[OUT],
        .stderr_path = missing,
        .holder = HOLDER,
        .slice = "nspawn-1.slice",
    };

    (void)state;
    assert_int_equal(task_logs_new(scene->units, &args, &scene->logs, NULL), 0);
    hold(scene);
    expect_fail_with(scene->hold_fail.error, &scene->hold_fail, -ENOENT, missing);
    assert_int_equal(fake_systemd_n_units(scene->systemd), 0);
    scene_free(scene);
}

static bool holds_new_fifo(void *data)
{
    const struct scene *scene = data;

    return leads_to(fake_systemd_stdout(scene->systemd, HOLDER), scene->targets[OUT]);
}

static void test_fifo_that_nomad_made_anew_is_held_instead(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    say(scene, OUT, "old");
    expect_read(scene, OUT, "old");
    assert_int_equal(unlink(scene->targets[OUT]), 0);
    assert_int_equal(mkfifo(scene->targets[OUT], 0600), 0);
    close_fd(scene->readers[OUT]);
    open_reader(scene, OUT);
    say(scene, OUT, " new");
    assert_true(event_run_until(scene->event, holds_new_fifo, scene));
    expect_read(scene, OUT, "old new");
    assert_int_equal(fake_systemd_n_units(scene->systemd), 1);
    assert_true(leads_to(fake_systemd_stderr(scene->systemd, HOLDER), scene->targets[ERR]));
    finish(scene);
    assert_int_equal(fake_systemd_n_units(scene->systemd), 0);
    scene_free(scene);
}

/* --- the end --------------------------------------------------------------------------------- */

static void test_end_comes_after_all_that_was_written(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    say(scene, OUT, "last words");
    say(scene, ERR, "of both");
    finish(scene);
    assert_int_equal(scene->finish_fail.error, 0);
    assert_int_equal(fake_systemd_n_units(scene->systemd), 0);
    expect_read(scene, OUT, "last words");
    expect_read(scene, ERR, "of both");
    assert_true(scene->is_at_end[OUT] && scene->is_at_end[ERR]);
    scene_free(scene);
}

static void test_end_waits_for_the_unit_s_end(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    fake_systemd_hold_jobs(scene->systemd, true);
    task_logs_finish(scene->logs, on_finished, scene);
    assert_true(fake_bus_await_calls(scene->fake, "StopUnit", 1));
    assert_false(scene->is_finished);
    fake_systemd_hold_jobs(scene->systemd, false);
    assert_true(event_run_until_set(scene->event, &scene->is_finished));
    scene_free(scene);
}

static void test_end_gives_up_a_hold_that_is_under_way(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    fake_systemd_hold_jobs(scene->systemd, true);
    assert_int_equal(task_logs_hold(scene->logs, on_held, scene, NULL), 0);
    assert_true(fake_bus_await_calls(scene->fake, "StartTransientUnit", 1));
    fake_systemd_hold_jobs(scene->systemd, false);
    finish(scene);
    assert_false(scene->is_held);
    assert_int_equal(fake_systemd_n_units(scene->systemd), 0);
    scene_free(scene);
}

static void test_unit_that_does_not_stop_is_told(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    hold(scene);
    fake_bus_refuse(scene->fake, "StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not you");
    finish(scene);
    expect_fail_with(scene->finish_fail.error, &scene->finish_fail, -EACCES, "not you");
    scene_free(scene);
}

static void test_logs_can_be_freed_at_any_time(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    scene->logs = task_logs_free(scene->logs);
    scene_free(scene);

    scene = scene_with_logs();
    assert_int_equal(task_logs_hold(scene->logs, on_held, scene, NULL), 0);
    scene->logs = task_logs_free(scene->logs);
    event_run_pending(scene->event);
    assert_false(scene->is_held);
    scene_free(scene);

    scene = scene_with_logs();
    hold(scene);
    task_logs_finish(scene->logs, on_finished, scene);
    scene->logs = task_logs_free(scene->logs);
    event_run_pending(scene->event);
    assert_false(scene->is_finished);
    assert_null(task_logs_free(NULL));
    scene_free(scene);
}

/* --- every failure --------------------------------------------------------------------------- */

static unsigned run_with_failure(unsigned n)
{
    struct scene *scene = scene_with_logs();

    fake_bus_fail_nth(scene->fake, n);
    hold(scene);
    say(scene, OUT, "out");
    say(scene, ERR, "err");
    finish(scene);
    expect_read(scene, OUT, "out");
    expect_read(scene, ERR, "err");
    unsigned n_calls = fake_bus_n_calls(scene->fake, NULL);
    if (n_calls < n) {
        assert_int_equal(scene->hold_fail.error, 0);
        assert_int_equal(scene->finish_fail.error, 0);
    }
    /* A unit that remains was told of: it is the task's removal that stops it. */
    if (scene->finish_fail.error == 0) {
        assert_int_equal(fake_systemd_n_units(scene->systemd), 0);
        assert_true(scene->is_at_end[OUT] && scene->is_at_end[ERR]);
    }
    scene_free(scene);
    return n_calls;
}

static void test_no_call_that_fails_costs_a_byte(void **state)
{
    (void)state;
    assert_in_range(fake_bus_every_failure(run_with_failure), 3, 20);
}

/* --- recovery, last words -------------------------------------------------------------------- */

static void test_fifos_that_are_gone_can_t_be_recovered(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail_with(make_logs(scene, true, &fail), &fail, -ENOENT, RUNTIME_DIR_STDOUT);
    assert_null(scene->logs);
    assert_int_equal(mkfifoat(scene->dir_fd, RUNTIME_DIR_STDOUT, 0666), 0);
    expect_fail_with(make_logs(scene, true, &fail), &fail, -ENOENT, RUNTIME_DIR_STDERR);
    assert_null(scene->logs);
    scene_free(scene);
}

static void test_place_of_a_fifo_that_is_taken_is_told(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    scratch_dir_write(scene->dir, RUNTIME_DIR_STDERR, "");
    expect_fail_with(make_logs(scene, false, &fail), &fail, -EEXIST, RUNTIME_DIR_STDERR);
    assert_null(scene->logs);
    scene_free(scene);
}

static void expect_last_line(struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *line = task_logs_last_line(scene->logs);

    if (expected == NULL)
        assert_null(line);
    else
        assert_string_equal(line, expected);
}

static void test_last_words_are_those_on_stderr_first(void **state)
{
    struct scene *scene = scene_with_logs();

    (void)state;
    expect_last_line(scene, NULL);
    say(scene, OUT, "one\ntwo\n");
    expect_last_line(scene, "two");
    say(scene, ERR, "why it failed\nChild died too early.\n");
    expect_last_line(scene, "why it failed");
    event_run_pending(scene->event);
    expect_last_line(scene, "why it failed");
    task_logs_settle(scene->logs, 0);
    event_run_pending(scene->event);
    expect_last_line(scene, NULL);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_both_streams_reach_the_collector_apart),
        FD_LEAK_TEST(test_any_user_inside_may_open_the_fifos),
        FD_LEAK_TEST(test_output_without_a_place_goes_nowhere),
        FD_LEAK_TEST(test_unit_holds_nomad_s_fifos_when_the_plugin_dies),
        FD_LEAK_TEST(test_plugin_keeps_nothing_of_what_the_unit_holds),
        FD_LEAK_TEST(test_unit_that_does_not_start_is_told),
        FD_LEAK_TEST(test_fifo_of_nomad_that_can_t_be_opened_is_told),
        FD_LEAK_TEST(test_fifo_that_nomad_made_anew_is_held_instead),
        FD_LEAK_TEST(test_end_comes_after_all_that_was_written),
        FD_LEAK_TEST(test_end_waits_for_the_unit_s_end),
        FD_LEAK_TEST(test_end_gives_up_a_hold_that_is_under_way),
        FD_LEAK_TEST(test_unit_that_does_not_stop_is_told),
        FD_LEAK_TEST(test_logs_can_be_freed_at_any_time),
        FD_LEAK_TEST(test_no_call_that_fails_costs_a_byte),
        FD_LEAK_TEST(test_fifos_that_are_gone_can_t_be_recovered),
        FD_LEAK_TEST(test_place_of_a_fifo_that_is_taken_is_told),
        FD_LEAK_TEST(test_last_words_are_those_on_stderr_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
