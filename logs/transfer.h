/* The descriptors of a pump and the moving of bytes between them, without waiting. Everything is
 * done by splice(2): a byte is in one pipe or in the other. In memory of the pump. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"

struct tail;

/* Moved in one go, so that one noisy task does not keep the loop from the others. */
#define TRANSFER_TURN_BYTES_MAX (256 * 1024)

enum transfer_state {
    TRANSFER_MORE,      /* moved, and there may be more */
    TRANSFER_EMPTY,     /* the source has nothing */
    TRANSFER_FULL,      /* the target takes nothing until it is read */
    TRANSFER_NO_READER, /* nobody reads the target, or it is missing */
    TRANSFER_FAILED,    /* the target refuses: `error` */
    TRANSFER_STATE_MAX
};

struct transfer {
    int source_fd, target_fd;
    /* A read end of a target that was removed before it was read to its end: comes first. */
    int removed_fd;
    bool target_is_large;
    struct tail *tail; /* NULL: not remembered, or not any more */
    uint64_t n_moved;
    int error;
};

void transfer_init(struct transfer *transfer);
void transfer_done(struct transfer *transfer);

enum transfer_state transfer_move(struct transfer *transfer);

/* Opens what is at `path` now, if that is not what is open. 1: it took the place of another, whose
 * unread bytes will go to the new one; 0: opened, or still the same; -ENOENT and others: the old
 * one, if any, stays. */
int transfer_open_target(struct transfer *transfer, const char *path, struct fail *reterr);

/* Bytes that nobody would get if all ended now. */
uint64_t transfer_unread(const struct transfer *transfer);
