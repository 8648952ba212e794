#include "logs/pump.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "logs/fifo.h"
#include "logs/fifo_watch.h"
#include "logs/tail.h"
#include "logs/transfer.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"

/* Calls of the agent come first. */
#define PUMP_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 10)

/* What can be moved is moved before it is given up. */
#define GIVE_UP_PRIORITY (PUMP_PRIORITY + 1)

/* A full disk, or no inotify watch to be had: nothing tells when that is over. */
#define RETRY_USEC          (5 * UINT64_C(1000000))
#define RETRY_ACCURACY_USEC (1 * UINT64_C(1000000))

enum pump_state {
    PUMP_FLOWING, /* waits for the task to write */
    PUMP_FULL,    /* waits for the collector to read */
    PUMP_ALONE,   /* waits for a collector */
    PUMP_FAILED,  /* waits for a better time */
    PUMP_ENDED,
    PUMP_STATE_MAX
};

struct pump {
    sd_event *event;
    char *task, *target;
    const char *stream;
    void (*on_replaced)(void *data);
    void *replaced_data;

    enum pump_state state;
    struct transfer transfer;
    sd_event_source *source_io;
    sd_event_source *target_io; /* NULL for what can't be waited for: it is always ready */
    sd_event_source *turn;
    sd_event_source *retry;
    struct fifo_watch *watch;
    bool failure_was_told;

    pump_finished_fn finished; /* set: the task has ended */
    void *finished_data;
    sd_event_source *give_up;
    uint64_t give_up_usec, n_moved_before;
};

#define TO(state) (1u << (state))

static const unsigned successors[PUMP_STATE_MAX] = {
    [PUMP_FLOWING] = TO(PUMP_FLOWING) | TO(PUMP_FULL) | TO(PUMP_ALONE) | TO(PUMP_FAILED) |
                     TO(PUMP_ENDED),
    [PUMP_FULL] = TO(PUMP_FLOWING) | TO(PUMP_FULL) | TO(PUMP_ALONE) | TO(PUMP_FAILED) |
                  TO(PUMP_ENDED),
    [PUMP_ALONE] = TO(PUMP_FLOWING) | TO(PUMP_ALONE) | TO(PUMP_ENDED),
    [PUMP_FAILED] = TO(PUMP_FLOWING) | TO(PUMP_ENDED),
};

static void on_fifo_changed(void *data);

/* --- states ---------------------------------------------------------------------------------- */

static void tell_failure(struct pump *pump, const char *what)
{
    if (pump->failure_was_told)
        return;
    pump->failure_was_told = true;
    log_task_warn(pump->task, "%s: %s, trying again", pump->stream, what);
}

static void arm_retry(struct pump *pump)
{
    int r = sd_event_source_set_time_relative(pump->retry, RETRY_USEC);
    assert(r >= 0);
    r = sd_event_source_set_enabled(pump->retry, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

/* An epoll that takes no more descriptors must not end the stream. */
static void wait_for_io(struct pump *pump, sd_event_source *io, bool on)
{
    if (io == NULL)
        return;
    int r = sd_event_source_set_enabled(io, on ? SD_EVENT_ON : SD_EVENT_OFF);
    if (r < 0 && on) {
        tell_failure(pump, strerror(-r));
        arm_retry(pump);
    }
}

static void watch_fifo(struct pump *pump)
{
    pump->watch = fifo_watch_free(pump->watch);
    int r = fifo_watch_new(pump->event, pump->target, on_fifo_changed, pump, &pump->watch);
    if (r < 0) {
        tell_failure(pump, strerror(-r));
        arm_retry(pump);
    }
}

/* Leaving and entering is here and nowhere else: a state waits for exactly one thing. An end of a
 * pipe without its peer reports POLLERR for as long as epoll has it, so it is taken out. */
static void pump_set_state(struct pump *pump, enum pump_state state)
{
    bool must_turn = state == PUMP_FLOWING && pump->finished != NULL;

    assert(pump->state < PUMP_STATE_MAX);
    assert(successors[pump->state] & TO(state));

    pump->state = state;
    (void)sd_event_source_set_enabled(pump->turn, must_turn ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    (void)sd_event_source_set_enabled(pump->retry, SD_EVENT_OFF);
    wait_for_io(pump, pump->source_io, state == PUMP_FLOWING);
    wait_for_io(pump, pump->target_io, state == PUMP_FULL);
    if (state == PUMP_FAILED)
        arm_retry(pump);
    if (state == PUMP_ALONE)
        watch_fifo(pump);
    else
        pump->watch = fifo_watch_free(pump->watch);
}

/* --- the target ------------------------------------------------------------------------------ */

static int on_target(sd_event_source *source, int fd, uint32_t events, void *data);

static int watch_target(struct pump *pump)
{
    pump->target_io = sd_event_source_disable_unref(pump->target_io);
    int r = sd_event_add_io(pump->event, &pump->target_io, pump->transfer.target_fd, EPOLLOUT,
                            on_target, pump);
    /* Files and /dev/null: never full. */
    if (r == -EPERM)
        return 0;
    if (r < 0)
        return r;
    (void)sd_event_source_set_description(pump->target_io, "log-target");
    (void)sd_event_source_set_priority(pump->target_io, PUMP_PRIORITY);
    return sd_event_source_set_enabled(pump->target_io, SD_EVENT_OFF);
}

/* The source on the old descriptor goes before the descriptor does. */
static int open_target(struct pump *pump, struct fail *reterr)
{
    if (pump->transfer.target_fd >= 0 && fifo_is_at(pump->transfer.target_fd, pump->target))
        return 0;
    pump->target_io = sd_event_source_disable_unref(pump->target_io);

    int is_other = transfer_open_target(&pump->transfer, pump->target, reterr);
    if (pump->transfer.target_fd < 0)
        return is_other;
    int r = watch_target(pump);
    if (r < 0)
        return fail_set(reterr, r, "log target '%s' can't be watched: %s", pump->target,
                        strerror(-r));
    return is_other;
}

/* Whether there is a collector now. */
static bool look_for_reader(struct pump *pump)
{
    CLEANUP_FAIL struct fail fail = {};

    int r = open_target(pump, &fail);
    if (r < 0 && r != -ENOENT)
        tell_failure(pump, fail_text(&fail));
    if (r > 0 && pump->on_replaced != NULL)
        pump->on_replaced(pump->replaced_data);
    return pump->transfer.target_fd >= 0 && fifo_has_reader(pump->transfer.target_fd);
}

/* Only a FIFO that has changed gets another watch: to make one opens the file on older kernels,
 * which wakes whoever else is waiting for it, and two would keep each other awake. */
static void look_again(struct pump *pump)
{
    int fd_before = pump->transfer.target_fd;

    if (look_for_reader(pump))
        pump_set_state(pump, PUMP_FLOWING);
    else if (pump->transfer.target_fd != fd_before)
        watch_fifo(pump);
}

/* The watch first, then the look: a collector that comes in between is seen by one of them. */
static void wait_for_reader(struct pump *pump)
{
    pump_set_state(pump, PUMP_ALONE);
    look_again(pump);
}

/* --- moving ---------------------------------------------------------------------------------- */

/* Last action of whoever calls it: `finished` may free the pump. */
static void end(struct pump *pump, int r)
{
    pump_set_state(pump, PUMP_ENDED);
    pump->give_up = sd_event_source_disable_unref(pump->give_up);
    pump->target_io = sd_event_source_disable_unref(pump->target_io);
    pump->transfer.target_fd = close_fd(pump->transfer.target_fd);
    pump->finished(pump, r, pump->finished_data);
}

/* All was taken over by the target; what it holds is safe as long as somebody has it open to
 * read. */
static void handle_empty(struct pump *pump)
{
    if (pump->finished == NULL)
        pump_set_state(pump, PUMP_FLOWING);
    else if (transfer_unread(&pump->transfer) > 0)
        wait_for_reader(pump);
    else
        end(pump, 0);
}

static void handle_failed(struct pump *pump)
{
    tell_failure(pump, strerror(-pump->transfer.error));
    pump_set_state(pump, PUMP_FAILED);
}

static void take_turn(struct pump *pump)
{
    switch (transfer_move(&pump->transfer)) {
    case TRANSFER_MORE:
        pump->failure_was_told = false;
        pump_set_state(pump, PUMP_FLOWING);
        break;
    case TRANSFER_EMPTY:
        handle_empty(pump);
        break;
    case TRANSFER_FULL:
        /* Without an end to wait for, it was the task that wrote just now. */
        pump_set_state(pump, pump->target_io != NULL ? PUMP_FULL : PUMP_FLOWING);
        break;
    case TRANSFER_NO_READER:
        wait_for_reader(pump);
        break;
    default:
        handle_failed(pump);
        break;
    }
}

/* --- events ---------------------------------------------------------------------------------- */

static int on_source(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    take_turn(data);
    return 0;
}

static int on_target(sd_event_source *source, int fd, uint32_t events, void *data)
{
    return on_source(source, fd, events, data);
}

static int on_turn(sd_event_source *source, void *data)
{
    struct pump *pump = data;

    (void)source;
    pump_set_state(pump, PUMP_FLOWING);
    take_turn(pump);
    return 0;
}

static void on_fifo_changed(void *data)
{
    look_again(data);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *data)
{
    struct pump *pump = data;

    (void)source;
    (void)usec;
    if (pump->state == PUMP_ALONE) {
        wait_for_reader(pump);
        return 0;
    }
    pump_set_state(pump, PUMP_FLOWING);
    take_turn(pump);
    return 0;
}

static void tell_loss(const struct pump *pump)
{
    log_task_warn(pump->task, "%s: nobody read '%s' for %" PRIu64 " ms, %" PRIu64 " bytes are lost",
                  pump->stream, pump->target, pump->give_up_usec / 1000,
                  transfer_unread(&pump->transfer));
}

static void arm_give_up(struct pump *pump)
{
    pump->n_moved_before = pump->transfer.n_moved;
    int r = sd_event_source_set_time_relative(pump->give_up, pump->give_up_usec);
    assert(r >= 0);
    r = sd_event_source_set_enabled(pump->give_up, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static int on_give_up(sd_event_source *source, uint64_t usec, void *data)
{
    struct pump *pump = data;

    (void)source;
    (void)usec;
    if (pump->transfer.n_moved != pump->n_moved_before || pump->state == PUMP_FLOWING) {
        arm_give_up(pump);
        return 0;
    }
    tell_loss(pump);
    end(pump, -ETIMEDOUT);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static int add_sources(struct pump *pump)
{
    int r = sd_event_add_io(pump->event, &pump->source_io, pump->transfer.source_fd, EPOLLIN,
                            on_source, pump);
    if (r < 0)
        return r;
    r = sd_event_add_defer(pump->event, &pump->turn, on_turn, pump);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(pump->event, &pump->retry, CLOCK_MONOTONIC, RETRY_USEC,
                                   RETRY_ACCURACY_USEC, on_retry, pump);
    if (r < 0)
        return r;
    (void)sd_event_source_set_description(pump->source_io, "log-source");
    (void)sd_event_source_set_description(pump->turn, "log-turn");
    (void)sd_event_source_set_description(pump->retry, "log-retry");
    (void)sd_event_source_set_priority(pump->source_io, PUMP_PRIORITY);
    (void)sd_event_source_set_priority(pump->turn, PUMP_PRIORITY);
    return 0;
}

static int set_up(struct pump *pump, const struct pump_args *args, struct fail *reterr)
{
    int r = fifo_open_source(args->source_dir_fd, args->source, reterr);
    if (r < 0)
        return r;
    pump->transfer.source_fd = r;

    r = add_sources(pump);
    if (r < 0)
        return fail_set(reterr, r, "log FIFO '%s' can't be watched: %s", args->source,
                        strerror(-r));
    CLEANUP_FAIL struct fail missing = {};
    r = open_target(pump, &missing);
    if (r < 0 && r != -ENOENT)
        return fail_set(reterr, r, "%s", fail_text(&missing));
    if (args->remember_tail)
        (void)tail_new(&pump->transfer.tail);
    return 0;
}

int pump_new(sd_event *event, const struct pump_args *args, struct pump **ret, struct fail *reterr)
{
    struct pump *pump = ALLOC_NEW(struct pump);

    *pump = (struct pump){
        .event = sd_event_ref(event),
        .task = alloc_strdup(args->task),
        .target = alloc_strdup(fifo_target_path(args->target)),
        .stream = args->stream,
        .on_replaced = args->on_replaced,
        .replaced_data = args->data,
    };
    transfer_init(&pump->transfer);
    int r = set_up(pump, args, reterr);
    if (r < 0) {
        pump_free(pump);
        return r;
    }
    if (pump->transfer.target_fd < 0)
        wait_for_reader(pump);
    else
        pump_set_state(pump, PUMP_FLOWING);
    *ret = pump;
    return 0;
}

struct pump *pump_free(struct pump *pump)
{
    if (pump == NULL)
        return NULL;
    sd_event_source_disable_unref(pump->source_io);
    sd_event_source_disable_unref(pump->target_io);
    sd_event_source_disable_unref(pump->turn);
    sd_event_source_disable_unref(pump->retry);
    sd_event_source_disable_unref(pump->give_up);
    fifo_watch_free(pump->watch);
    transfer_done(&pump->transfer);
    sd_event_unref(pump->event);
    free(pump->task);
    free(pump->target);
    free(pump);
    return NULL;
}

void pump_finish(struct pump *pump, uint64_t give_up_usec, pump_finished_fn done, void *data)
{
    assert(done != NULL);
    assert(pump->finished == NULL);

    pump->finished = done;
    pump->finished_data = data;
    pump->give_up_usec = give_up_usec;
    if (give_up_usec != UINT64_MAX) {
        int r = sd_event_add_time_relative(pump->event, &pump->give_up, CLOCK_MONOTONIC,
                                           give_up_usec, 0, on_give_up, pump);
        assert(r >= 0);
        (void)sd_event_source_set_description(pump->give_up, "log-give-up");
        (void)sd_event_source_set_priority(pump->give_up, GIVE_UP_PRIORITY);
        arm_give_up(pump);
    }
    /* Waiting goes on as it is; what only waits for the task to write must now look for the end. */
    if (pump->state == PUMP_FLOWING)
        pump_set_state(pump, PUMP_FLOWING);
    else if (pump->state == PUMP_ALONE && transfer_unread(&pump->transfer) == 0)
        (void)sd_event_source_set_enabled(pump->turn, SD_EVENT_ONESHOT);
}

char *pump_tail_line(struct pump *pump, tail_skip_fn skip)
{
    if (pump->transfer.tail == NULL)
        return NULL;
    return tail_line(pump->transfer.tail, pump->transfer.source_fd, skip);
}

void pump_forget_tail(struct pump *pump)
{
    pump->transfer.tail = tail_free(pump->transfer.tail);
}
