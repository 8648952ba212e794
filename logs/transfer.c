#include "logs/transfer.h"

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

void transfer_init(struct transfer *transfer)
{
    *transfer = (struct transfer){ .source_fd = -EBADF, .target_fd = -EBADF, .removed_fd = -EBADF };
}

void transfer_done(struct transfer *transfer)
{
    transfer->source_fd = close_fd(transfer->source_fd);
    transfer->target_fd = close_fd(transfer->target_fd);
    transfer->removed_fd = close_fd(transfer->removed_fd);
    transfer->tail = tail_free(transfer->tail);
}

static ssize_t move(const struct transfer *transfer, int from, size_t n_max)
{
    ssize_t n = splice(from, NULL, transfer->target_fd, NULL, n_max,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return n < 0 ? -errno : n;
}

/* The same with a look at what goes by. */
static ssize_t move_watched(struct transfer *transfer, size_t n_max)
{
    ssize_t n_doubled = tail_double(transfer->tail, transfer->source_fd, n_max);
    if (n_doubled <= 0)
        return n_doubled;

    ssize_t n = move(transfer, transfer->source_fd, (size_t)n_doubled);
    tail_keep(transfer->tail, n > 0 ? (size_t)n : 0);
    if (tail_is_over(transfer->tail))
        transfer->tail = tail_free(transfer->tail);
    return n;
}

static ssize_t move_piece(struct transfer *transfer, size_t n_max)
{
    ssize_t n = 0;

    if (transfer->removed_fd >= 0) {
        if (fifo_unread(transfer->removed_fd) > 0)
            return move(transfer, transfer->removed_fd, n_max);
        transfer->removed_fd = close_fd(transfer->removed_fd);
    }
    if (transfer->tail == NULL)
        return move(transfer, transfer->source_fd, n_max);

    n = move_watched(transfer, n_max);
    /* A tail that can't be had must not keep the output back. */
    if (n < 0 && n != -EAGAIN && n != -EINTR && n != -EPIPE) {
        transfer->tail = tail_free(transfer->tail);
        return move(transfer, transfer->source_fd, n_max);
    }
    return n;
}

/* EAGAIN does not say whose fault it is. */
static enum transfer_state blocked_state(struct transfer *transfer)
{
    if (transfer->removed_fd < 0 && fifo_unread(transfer->source_fd) == 0)
        return TRANSFER_EMPTY;
    /* Enlarged when it is needed for the first time: most tasks never fill 64 KiB. */
    if (!transfer->target_is_large) {
        transfer->target_is_large = true;
        fifo_enlarge(transfer->target_fd);
        return TRANSFER_MORE;
    }
    return TRANSFER_FULL;
}

static enum transfer_state failed_state(struct transfer *transfer, ssize_t n)
{
    switch (n) {
    case -EAGAIN:
        return blocked_state(transfer);
    case -EINTR:
        return TRANSFER_MORE;
    case -EPIPE:
        return TRANSFER_NO_READER;
    default:
        transfer->error = n == 0 ? -EIO : (int)n;
        return TRANSFER_FAILED;
    }
}

enum transfer_state transfer_move(struct transfer *transfer)
{
    size_t n_left = TRANSFER_TURN_BYTES_MAX;

    if (transfer->target_fd < 0)
        return fifo_unread(transfer->source_fd) > 0 ? TRANSFER_NO_READER : TRANSFER_EMPTY;
    while (n_left > 0) {
        ssize_t n = move_piece(transfer, n_left);
        if (n <= 0)
            return failed_state(transfer, n);
        transfer->n_moved += (uint64_t)n;
        n_left -= (size_t)n;
        if (n < SHORT_PIECE)
            break;
    }
    return TRANSFER_MORE;
}

/* What a removed target still holds is seen by nobody who opens the path. Another reader of it
 * would be asked for twice, so only the one without any is emptied. */
static void keep_removed(struct transfer *transfer)
{
    if (fifo_has_reader(transfer->target_fd) || fifo_unread(transfer->target_fd) == 0)
        return;
    close_fd(transfer->removed_fd);
    transfer->removed_fd = fifo_reopen_read(transfer->target_fd);
}

int transfer_open_target(struct transfer *transfer, const char *path, struct fail *reterr)
{
    if (transfer->target_fd >= 0 && fifo_is_at(transfer->target_fd, path))
        return 0;

    int fd = fifo_open_target(path, reterr);
    if (fd < 0)
        return fd;

    bool is_other = transfer->target_fd >= 0;
    if (is_other)
        keep_removed(transfer);
    close_fd(transfer->target_fd);
    transfer->target_fd = fd;
    transfer->target_is_large = false;
    return is_other;
}

uint64_t transfer_unread(const struct transfer *transfer)
{
    uint64_t n = fifo_unread(transfer->source_fd);

    if (transfer->removed_fd >= 0)
        n += fifo_unread(transfer->removed_fd);
    if (transfer->target_fd >= 0 && !fifo_has_reader(transfer->target_fd))
        n += fifo_unread(transfer->target_fd);
    return n;
}
