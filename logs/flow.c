#include "logs/flow.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>

#include "logs/fifo.h"
#include "logs/tail.h"
#include "reactor/cleanup.h"

/* Less than this was all there was, most likely: epoll tells sooner than another attempt, and small
 * writes get the time to merge. */
#define SHORT_PIECE 4096

void flow_init(struct flow *flow)
{
    *flow = (struct flow){ .source_fd = -EBADF, .target_fd = -EBADF, .removed_fd = -EBADF };
}

void flow_done(struct flow *flow)
{
    flow->source_fd = close_fd(flow->source_fd);
    flow->target_fd = close_fd(flow->target_fd);
    flow->removed_fd = close_fd(flow->removed_fd);
    flow->tail = tail_free(flow->tail);
}

static ssize_t move(const struct flow *flow, int from, size_t n_max)
{
    ssize_t n = splice(from, NULL, flow->target_fd, NULL, n_max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return n < 0 ? -errno : n;
}

/* The same with a look at what goes by. */
static ssize_t move_watched(struct flow *flow, size_t n_max)
{
    ssize_t n_doubled = tail_double(flow->tail, flow->source_fd, n_max);
    if (n_doubled <= 0)
        return n_doubled;

    ssize_t n = move(flow, flow->source_fd, (size_t)n_doubled);
    tail_keep(flow->tail, n > 0 ? (size_t)n : 0);
    if (tail_is_over(flow->tail))
        flow->tail = tail_free(flow->tail);
    return n;
}

static ssize_t move_piece(struct flow *flow, size_t n_max)
{
    ssize_t n = 0;

    if (flow->removed_fd >= 0) {
        if (fifo_unread(flow->removed_fd) > 0)
            return move(flow, flow->removed_fd, n_max);
        flow->removed_fd = close_fd(flow->removed_fd);
    }
    if (flow->tail == NULL)
        return move(flow, flow->source_fd, n_max);

    n = move_watched(flow, n_max);
    /* A tail that can't be had must not keep the output back. */
    if (n < 0 && n != -EAGAIN && n != -EINTR && n != -EPIPE) {
        flow->tail = tail_free(flow->tail);
        return move(flow, flow->source_fd, n_max);
    }
    return n;
}

/* EAGAIN does not say whose fault it is. */
static enum flow_state blocked_state(struct flow *flow)
{
    if (flow->removed_fd < 0 && fifo_unread(flow->source_fd) == 0)
        return FLOW_EMPTY;
    /* Enlarged when it is needed for the first time: most tasks never fill 64 KiB. */
    if (!flow->target_is_large) {
        flow->target_is_large = true;
        fifo_enlarge(flow->target_fd);
        return FLOW_MORE;
    }
    return FLOW_FULL;
}

static enum flow_state failed_state(struct flow *flow, ssize_t n)
{
    switch (n) {
    case -EAGAIN:
        return blocked_state(flow);
    case -EINTR:
        return FLOW_MORE;
    case -EPIPE:
        return FLOW_NO_READER;
    default:
        flow->error = n == 0 ? -EIO : (int)n;
        return FLOW_FAILED;
    }
}

enum flow_state flow_move(struct flow *flow)
{
    size_t n_left = FLOW_TURN_BYTES_MAX;

    if (flow->target_fd < 0)
        return fifo_unread(flow->source_fd) > 0 ? FLOW_NO_READER : FLOW_EMPTY;
    while (n_left > 0) {
        ssize_t n = move_piece(flow, n_left);
        if (n <= 0)
            return failed_state(flow, n);
        flow->n_moved += (uint64_t)n;
        n_left -= (size_t)n;
        if (n < SHORT_PIECE)
            break;
    }
    return FLOW_MORE;
}

/* What a removed target still holds is seen by nobody who opens the path. Another reader of it would
 * be asked for twice, so only the one without any is emptied. */
static void keep_removed(struct flow *flow)
{
    if (fifo_has_reader(flow->target_fd) || fifo_unread(flow->target_fd) == 0)
        return;
    close_fd(flow->removed_fd);
    flow->removed_fd = fifo_reopen_read(flow->target_fd);
}

int flow_open_target(struct flow *flow, const char *path, struct fail *reterr)
{
    if (flow->target_fd >= 0 && fifo_is_at(flow->target_fd, path))
        return 0;

    int fd = fifo_open_target(path, reterr);
    if (fd < 0)
        return fd;

    bool is_other = flow->target_fd >= 0;
    if (is_other)
        keep_removed(flow);
    close_fd(flow->target_fd);
    flow->target_fd = fd;
    flow->target_is_large = false;
    return is_other;
}

uint64_t flow_unread(const struct flow *flow)
{
    uint64_t n = fifo_unread(flow->source_fd);

    if (flow->removed_fd >= 0)
        n += fifo_unread(flow->removed_fd);
    if (flow->target_fd >= 0 && !fifo_has_reader(flow->target_fd))
        n += fifo_unread(flow->target_fd);
    return n;
}
