/* One connection as server has it, but without a socket: what its peer says is put in, what it
 * answers is read and looked at. Its methods are those of handlers.h. After each step it is checked
 * that limits are kept. In memory of the caller. */
#pragma once

#include <stdbool.h>

#include "rpc/grpc/dispatch.h"
#include "tests/fuzz/handlers.h"
#include "tests/fuzz/peer.h"

struct session {
    sd_event *event;
    struct dispatch *dispatch;
    struct dispatch_conn conn;
    struct h2_conn *h2;
    struct handlers handlers;
    struct peer peer;
    struct evbuffer *socket; /* on the way to the server */
    uint64_t now_usec;
    size_t n_put;
    size_t room; /* what the peer will still read; SIZE_MAX: everything */
    bool is_lost;
};

/* No message is filled up with more than `fill_max` bytes. */
void session_init(struct session *session, size_t fill_max);
/* Before anything else may come over the socket. */
void session_put(struct session *session, const void *bytes, size_t n);
/* Moves what is on the way, as far as server would read, and takes its answers, as far as the peer
 * reads. */
void session_work(struct session *session);
/* Time passes, and the loop has a turn. */
void session_pass(struct session *session, uint64_t usec);
/* The peer hangs up; nothing may be alive after it. */
void session_done(struct session *session);
