/* A stream's inside, for what stands above it: h2_frames and h2_conn. The fields of both structs
 * are read there, written by h2_stream.c only. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include "rpc/h2/h2_bucket.h"
#include "rpc/h2/h2_events.h"
#include "rpc/h2/h2_output.h"
#include "rpc/h2/h2_stream.h"
#include "rpc/h2/h2_streams.h"

/* The server's view. "Half closed (local)" is missing: when our end is out before the peer's, the
 * stream is reset with NO_ERROR (RFC 9113 section 8.1), as there is nothing left to say. */
enum h2_stream_state {
    H2_STREAM_OPEN,
    H2_STREAM_HALF_CLOSED, /* the peer has said all */
    H2_STREAM_ENDED,
    H2_STREAM_STATE_MAX
};

TAILQ_HEAD(h2_stream_list, h2_stream);

/* What the streams of one connection share. In memory of the connection. */
struct h2_shared {
    const struct h2_conn_events *events;
    void *data;
    struct h2_output output;
    struct h2_streams streams;     /* those that have not ended */
    struct h2_stream_list waiting; /* have data and a window of their own */
    struct h2_stream_list ended;   /* to be freed when nothing runs above */
    size_t queued_bytes;           /* all streams */
    uint32_t initial_window;       /* of a new stream, as the peer has set it */
    struct h2_bucket idle_frames;  /* of the peer; what we send earns it some */
};

struct h2_stream {
    struct h2_shared *shared;
    void *data;
    uint32_t id;
    enum h2_stream_state state;
    bool told;    /* its user has ended it or was told: no more events */
    bool waiting; /* in shared->waiting */

    int64_t send_window; /* negative after the peer has shrunk it */
    int64_t receive_window;
    uint32_t consumed; /* not yet given back */
    int64_t body_left; /* of content-length; -1: not said */

    struct evbuffer *queue; /* data without window; NULL: none */
    uint8_t *trailers;      /* NULL: not ending yet */
    size_t n_trailers;

    TAILQ_ENTRY(h2_stream) link; /* shared->waiting, or shared->ended */
};

void h2_stream_shared_init(struct h2_shared *shared, const struct h2_conn_events *events,
                           void *data, uint64_t now_usec);
/* on_reset for each stream that is there. */
void h2_stream_shared_done(struct h2_shared *shared);

/* `id` is higher than all before; content_length as in struct h2_headers. It is freed after its
 * end, by h2_stream_reap(). */
struct h2_stream *h2_stream_new(struct h2_shared *shared, uint32_t id, int64_t content_length);
/* The peer has said all. */
void h2_stream_half_close(struct h2_stream *stream);
/* Ends it for a reason that is not its user's: on_reset. */
void h2_stream_abandon(struct h2_stream *stream, enum h2_error error);
void h2_stream_abandon_all(struct h2_shared *shared, enum h2_error error);
/* Frees those that have ended; when nothing runs above that may hold one. */
void h2_stream_reap(struct h2_shared *shared);

/* False: `n` bytes are beyond the window it was given, and beyond its content-length. */
bool h2_stream_take_window(struct h2_stream *stream, size_t n);
bool h2_stream_take_body(struct h2_stream *stream, size_t n);

/* Lets out what the peer's windows and the output allow, a frame of each stream in turn; may call
 * on_drain. */
void h2_stream_pump(struct h2_shared *shared);
/* H2_FLOW_CONTROL_ERROR: the window would be larger than the protocol allows. */
enum h2_error h2_stream_grow_window(struct h2_stream *stream, uint32_t increment);
enum h2_error h2_stream_set_initial_window(struct h2_shared *shared, uint32_t window);
