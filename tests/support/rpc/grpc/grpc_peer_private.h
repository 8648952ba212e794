/* The insides of a grpc_peer, shared by its connection (grpc_peer.c) and its calls
 * (grpc_call.c). */
#pragma once

#include <event2/buffer.h>
#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

#include "tests/support/rpc/grpc/grpc_peer.h"

struct grpc_call {
    LIST_ENTRY(grpc_call) entry;
    struct grpc_peer *peer;
    int32_t id;
    struct evbuffer *out, *in;
    bool ended; /* all that there will be is in `out` */
    bool is_over;
    uint32_t error;
    char *headers; /* "name: value" lines */
};

struct grpc_peer {
    sd_event *event;
    int fd;
    sd_event_source *io;
    nghttp2_session *session;
    struct evbuffer *out;
    LIST_HEAD(, grpc_call) calls;
    bool is_paused, is_closed;
    int goaway;
    unsigned n_pongs;
    char *error;
};

/* grpc_peer.c: sends what there is to send. */
void grpc_peer_flush(struct grpc_peer *peer);

/* grpc_call.c: unlinks itself from its peer. */
void grpc_call_free(struct grpc_call *call);
