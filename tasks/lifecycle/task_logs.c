#include "tasks/lifecycle/task_logs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logs/fifo.h"
#include "logs/pump.h"
#include "logs/target_await.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/persist/runtime_dir.h"

enum { STREAM_STDOUT, STREAM_STDERR, STREAM_MAX };

static const struct {
    const char *name, *fifo;
} streams[STREAM_MAX] = {
    [STREAM_STDOUT] = { "stdout", RUNTIME_DIR_STDOUT },
    [STREAM_STDERR] = { "stderr", RUNTIME_DIR_STDERR },
};

struct stream {
    struct task_logs *logs;
    char *target;
    struct pump *pump;
    struct target_await *holder; /* while Nomad's FIFO is being opened for the holding unit */
    int held_fd;
    bool finished;
};

struct task_logs {
    struct units *units;
    char *task, *holder, *slice;
    int dir_fd;
    bool recovered;
    struct stream streams[STREAM_MAX];
    struct unit_op *op; /* on the holding unit */
    task_logs_done_fn hold_done;
    void *hold_data;
    task_logs_done_fn finish_done;
    void *finish_data;
    sd_event_source *settled;
};

/* --- the holding unit ------------------------------------------------------------------------ */

static void drop_held(struct task_logs *logs)
{
    for (size_t i = 0; i < STREAM_MAX; i++) {
        struct stream *stream = &logs->streams[i];
        stream->holder = target_await_free(stream->holder);
        stream->held_fd = close_fd(stream->held_fd);
    }
}

static void end_hold(struct task_logs *logs, const struct fail *fail)
{
    task_logs_done_fn done = TAKE_PTR(logs->hold_done);

    drop_held(logs);
    if (done != NULL)
        done(fail, logs->hold_data);
    else if (fail != NULL)
        log_task_warn(logs->task, "cannot hold the log FIFOs open: %s; output may be lost when the "
                      "plugin dies", fail_text(fail));
}

static void on_held(const struct fail *fail, void *data)
{
    struct task_logs *logs = data;

    logs->op = NULL;
    end_hold(logs, fail);
}

/* A oneshot unit that has ended and remains: its descriptors stay open in PID 1. */
static void start_holder(struct task_logs *logs)
{
    struct strv argv = {};
    CLEANUP_FREE char *description = alloc_printf("Log FIFOs of Nomad task %s", logs->task);

    strv_push(&argv, "/bin/true");
    logs->op = unit_start(logs->units,
                          &(const struct unit_service){
                              .name = logs->holder,
                              .description = description,
                              .slice = logs->slice,
                              .argv = &argv,
                              .stdout_fd = logs->streams[STREAM_STDOUT].held_fd,
                              .stderr_fd = logs->streams[STREAM_STDERR].held_fd,
                              .oneshot = true,
                          },
                          on_held, logs);
    strv_done(&argv);
}

static void on_target_opened(int fd, const struct fail *fail, void *data)
{
    struct stream *stream = data;
    struct task_logs *logs = stream->logs;

    stream->holder = NULL;
    stream->held_fd = fd;
    if (fd < 0)
        end_hold(logs, fail);
    else if (logs->streams[STREAM_STDOUT].held_fd >= 0 && logs->streams[STREAM_STDERR].held_fd >= 0)
        start_holder(logs);
}

static int open_targets(struct task_logs *logs, struct fail *fail)
{
    for (size_t i = 0; i < STREAM_MAX; i++) {
        struct stream *stream = &logs->streams[i];
        int r = target_await_start(bus_event(units_bus(logs->units)), stream->target,
                                   TARGET_AWAIT_USEC, on_target_opened, stream, &stream->holder,
                                   fail);
        if (r < 0)
            return r;
    }
    return 0;
}

int task_logs_hold(struct task_logs *logs, task_logs_done_fn done, void *data, struct fail *reterr)
{
    logs->hold_done = done;
    logs->hold_data = data;
    int r = open_targets(logs, reterr);
    if (r < 0) {
        logs->hold_done = NULL;
        drop_held(logs);
    }
    return r;
}

static void hold_again(const struct fail *fail, void *data)
{
    struct task_logs *logs = data;
    CLEANUP_FAIL struct fail open_fail = {};

    (void)fail;
    logs->op = NULL;
    if (task_logs_hold(logs, NULL, NULL, &open_fail) < 0)
        end_hold(logs, &open_fail);
}

/* The collector reads a new FIFO, the unit holds the old one: it is made again. The other stream's
 * end of file does not come meanwhile, for its pump has Nomad's FIFO open as well. */
static void on_replaced(void *data)
{
    struct task_logs *logs = data;

    if (logs->op == NULL && logs->hold_done == NULL && logs->finish_done == NULL)
        logs->op = unit_stop(logs->units, logs->holder, hold_again, logs);
}

/* --- the end --------------------------------------------------------------------------------- */

static void on_released(const struct fail *fail, void *data)
{
    struct task_logs *logs = data;
    task_logs_done_fn done = TAKE_PTR(logs->finish_done);

    logs->op = NULL;
    done(fail, logs->finish_data);
}

static void on_pump_finished(struct pump *pump, int r, void *data)
{
    struct stream *stream = data;
    struct task_logs *logs = stream->logs;

    (void)pump;
    (void)r; /* what was given up, the pump has logged */
    stream->finished = true;
    for (size_t i = 0; i < STREAM_MAX; i++)
        if (!logs->streams[i].finished)
            return;
    logs->op = unit_stop(logs->units, logs->holder, on_released, logs);
}

void task_logs_finish(struct task_logs *logs, task_logs_done_fn done, void *data)
{
    logs->finish_done = done;
    logs->finish_data = data;
    logs->settled = sd_event_source_disable_unref(logs->settled); /* its last line tells the end */
    logs->hold_done = NULL;
    logs->op = unit_op_free(logs->op);
    drop_held(logs);
    for (size_t i = 0; i < STREAM_MAX; i++)
        pump_finish(logs->streams[i].pump,
                    logs->recovered ? PUMP_GIVE_UP_RECOVERED_USEC : PUMP_GIVE_UP_USEC,
                    on_pump_finished, &logs->streams[i]);
}

/* --- life ------------------------------------------------------------------------------------ */

static int make_stream(struct task_logs *logs, size_t i, struct fail *reterr)
{
    struct stream *stream = &logs->streams[i];
    struct pump_args args = {
        .task = logs->task,
        .stream = streams[i].name,
        .source_dir_fd = logs->dir_fd,
        .source = streams[i].fifo,
        .target = stream->target,
        .remember_tail = !logs->recovered,
        .on_replaced = on_replaced,
        .data = logs,
    };

    int r = logs->recovered ? 0 : fifo_make(logs->dir_fd, streams[i].fifo, reterr);
    if (r < 0)
        return r;
    return pump_new(bus_event(units_bus(logs->units)), &args, &stream->pump, reterr);
}

static char *target_of(const char *path)
{
    return alloc_strdup(path != NULL && *path != '\0' ? path : "/dev/null");
}

int task_logs_new(struct units *units, const struct task_logs_args *args, struct task_logs **ret,
                  struct fail *reterr)
{
    struct task_logs *logs = ALLOC_NEW(struct task_logs);
    int r = 0;

    logs->units = units;
    logs->task = alloc_strdup(args->task);
    logs->holder = alloc_strdup(args->holder);
    logs->slice = alloc_strdup(args->slice);
    logs->dir_fd = args->dir_fd;
    logs->recovered = args->recovered;
    logs->streams[STREAM_STDOUT].target = target_of(args->stdout_path);
    logs->streams[STREAM_STDERR].target = target_of(args->stderr_path);
    for (size_t i = 0; i < STREAM_MAX; i++) {
        logs->streams[i].logs = logs;
        logs->streams[i].held_fd = -EBADF;
    }
    for (size_t i = 0; r >= 0 && i < STREAM_MAX; i++)
        r = make_stream(logs, i, reterr);
    if (r < 0) {
        task_logs_free(logs);
        return r;
    }
    *ret = logs;
    return 0;
}

struct task_logs *task_logs_free(struct task_logs *logs)
{
    if (logs == NULL)
        return NULL;
    logs->op = unit_op_free(logs->op);
    logs->settled = sd_event_source_disable_unref(logs->settled);
    drop_held(logs);
    for (size_t i = 0; i < STREAM_MAX; i++) {
        pump_free(logs->streams[i].pump);
        free(logs->streams[i].target);
    }
    free(logs->task);
    free(logs->holder);
    free(logs->slice);
    free(logs);
    return NULL;
}

int task_logs_open_payload(struct task_logs *logs, int *ret_stdout, int *ret_stderr,
                           struct fail *reterr)
{
    CLEANUP_CLOSE int out = fifo_open_payload(logs->dir_fd, RUNTIME_DIR_STDOUT, reterr);
    if (out < 0)
        return out;
    CLEANUP_CLOSE int err = fifo_open_payload(logs->dir_fd, RUNTIME_DIR_STDERR, reterr);
    if (err < 0)
        return err;
    *ret_stdout = TAKE_FD(out);
    *ret_stderr = TAKE_FD(err);
    return 0;
}

/* What nspawn's parent process says when its child has told why, and the other way round. */
static bool is_consequence(const char *line)
{
    return strcmp(line, "Child died too early.") == 0 ||
           strcmp(line, "Parent died too early") == 0 ||
           strcmp(line, "Parent died too early.") == 0;
}

char *task_logs_last_line(struct task_logs *logs)
{
    char *line = pump_tail_line(logs->streams[STREAM_STDERR].pump, is_consequence);

    return line != NULL ? line
                        : pump_tail_line(logs->streams[STREAM_STDOUT].pump, is_consequence);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *data)
{
    struct task_logs *logs = data;

    (void)source;
    (void)usec;
    logs->settled = sd_event_source_disable_unref(logs->settled);
    for (size_t i = 0; i < STREAM_MAX; i++)
        pump_forget_tail(logs->streams[i].pump);
    return 0;
}

void task_logs_settle(struct task_logs *logs, uint64_t usec)
{
    sd_event *event = bus_event(units_bus(logs->units));

    int r = sd_event_add_time_relative(event, &logs->settled, CLOCK_MONOTONIC, usec, 0, on_settled,
                                       logs);
    assert(r >= 0);
    (void)sd_event_source_set_description(logs->settled, "task-logs-settled");
}
