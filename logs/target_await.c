#include "logs/target_await.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "logs/fifo.h"
#include "logs/fifo_watch.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct target_await {
    sd_event *event;
    char *path;
    sd_event_source *look, *timer;
    struct fifo_watch *watch;
    uint64_t wait_usec;
    target_await_fn opened;
    void *data;
};

static void finish(struct target_await *op, int fd, const struct fail *fail)
{
    target_await_fn opened = op->opened;
    void *data = op->data;

    target_await_free(op);
    opened(fd, fail, data);
}

/* Not O_NONBLOCK: the descriptor becomes some process's standard output. */
static int open_blocking(const char *path, struct fail *reterr)
{
    CLEANUP_CLOSE int fd = fifo_open_target(path, reterr);
    if (fd < 0)
        return fd;
    if (fcntl(fd, F_SETFL, 0) < 0)
        return fail_set(reterr, -errno, "log target '%s': %m", path);
    return TAKE_FD(fd);
}

/* True: the op has ended and is gone. */
static bool try_open(struct target_await *op)
{
    CLEANUP_FAIL struct fail fail = {};

    int fd = open_blocking(op->path, &fail);
    if (fd == -ENOENT)
        return false;
    finish(op, fd, fd < 0 ? &fail : NULL);
    return true;
}

static void on_changed(void *data)
{
    (void)try_open(data);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *data)
{
    struct target_await *op = data;
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    (void)fail_set_recoverable(&fail, -ETIMEDOUT,
                               "log target '%s' did not appear; is Nomad's log collector running?",
                               op->path);
    finish(op, -ETIMEDOUT, &fail);
    return 0;
}

static int wait_for_path(struct target_await *op)
{
    int r = fifo_watch_new(op->event, op->path, on_changed, op, &op->watch);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(op->event, &op->timer, CLOCK_MONOTONIC, op->wait_usec, 0,
                                   on_timeout, op);
    if (r < 0)
        return r;
    return sd_event_source_set_description(op->timer, "log-op-timeout");
}

static int on_look(sd_event_source *source, void *data)
{
    struct target_await *op = data;
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    if (try_open(op))
        return 0;

    int r = wait_for_path(op);
    if (r < 0) {
        fail_set(&fail, r, "log target '%s' can't be waited for: %s", op->path, strerror(-r));
        finish(op, r, &fail);
        return 0;
    }
    /* It may have come between the first look and the watch. */
    (void)try_open(op);
    return 0;
}

int target_await_start(sd_event *event, const char *path, uint64_t wait_usec,
                       target_await_fn opened, void *data, struct target_await **ret,
                       struct fail *reterr)
{
    assert(opened != NULL);

    struct target_await *op = ALLOC_NEW(struct target_await);
    *op = (struct target_await){
        .event = sd_event_ref(event),
        .path = alloc_strdup(fifo_target_path(path)),
        .wait_usec = wait_usec,
        .opened = opened,
        .data = data,
    };
    int r = sd_event_add_defer(event, &op->look, on_look, op);
    if (r < 0) {
        target_await_free(op);
        return fail_set(reterr, r, "the log target can't be opened: %s", strerror(-r));
    }
    (void)sd_event_source_set_description(op->look, "log-op-look");
    *ret = op;
    return 0;
}

struct target_await *target_await_free(struct target_await *op)
{
    if (op == NULL)
        return NULL;
    sd_event_source_disable_unref(op->look);
    sd_event_source_disable_unref(op->timer);
    fifo_watch_free(op->watch);
    sd_event_unref(op->event);
    free(op->path);
    free(op);
    return NULL;
}
