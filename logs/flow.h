/* The descriptors of a pump and the moving of bytes between them, without waiting. Everything is done
 * by splice(2): a byte is in one pipe or in the other. In memory of the pump. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"

struct tail;

/* Moved in one go, so that one noisy task does not keep the loop from the others. */
#define FLOW_TURN_BYTES_MAX (256 * 1024)

enum flow_state {
    FLOW_MORE,      /* moved, and there may be more */
    FLOW_EMPTY,     /* the source has nothing */
    FLOW_FULL,      /* the target takes nothing until it is read */
    FLOW_NO_READER, /* nobody reads the target, or it is missing */
    FLOW_FAILED,    /* the target refuses: `error` */
    FLOW_STATE_MAX
};

struct flow {
    int source_fd, target_fd;
    /* A read end of a target that was removed before it was read to its end: comes first. */
    int removed_fd;
    bool target_is_large;
    struct tail *tail; /* NULL: not remembered, or not any more */
    uint64_t n_moved;
    int error;
};

void flow_init(struct flow *flow);
void flow_done(struct flow *flow);

enum flow_state flow_move(struct flow *flow);

/* Opens what is at `path` now, if that is not what is open. 1: it took the place of another, whose
 * unread bytes will go to the new one; 0: opened, or still the same; -ENOENT and others: the old one,
 * if any, stays. */
int flow_open_target(struct flow *flow, const char *path, struct fail *reterr);

/* Bytes that nobody would get if all ended now. */
uint64_t flow_unread(const struct flow *flow);
