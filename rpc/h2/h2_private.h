/* The insides of a connection and its streams, shared by its files. Lower ones do not call
 * higher ones: h2_output, h2_streams < h2_stream < h2_frames < h2_conn. Nobody else
 * includes this. */
#pragma once

#include <sys/queue.h>

#include "rpc/h2/h2_bucket.h"
#include "rpc/h2/h2_codec.h"
#include "rpc/h2/h2_conn.h"
#include "rpc/h2/h2_stream.h"

/* The server's view. "Half closed (local)" is missing: when our end is out before the peer's, the
 * stream is reset with NO_ERROR (RFC 9113 section 8.1), as there is nothing left to say. */
enum h2_stream_state {
    H2_STREAM_OPEN,
    H2_STREAM_HALF_CLOSED, /* the peer has said all */
    H2_STREAM_ENDED,
    H2_STREAM_STATE_MAX
};

struct h2_stream {
    struct h2_conn *conn;
    void *data;
    uint32_t id;
    enum h2_stream_state state;
    bool told;    /* its user has ended it or was told: no more events */
    bool waiting; /* in conn->waiting */

    int64_t send_window; /* negative after the peer has shrunk it */
    int64_t receive_window;
    uint32_t consumed; /* not yet given back */
    int64_t body_left; /* of content-length; -1: not said */

    struct evbuffer *queue; /* data without window; NULL: none */
    uint8_t *trailers;      /* NULL: not ending yet */
    size_t n_trailers;

    TAILQ_ENTRY(h2_stream) link; /* conn->waiting, or conn->ended */
};

TAILQ_HEAD(h2_stream_list, h2_stream);

enum h2_conn_state {
    H2_CONN_PREFACE,  /* waiting for the client's magic */
    H2_CONN_SETTINGS, /* ... and for its SETTINGS, which must be first */
    H2_CONN_OPEN,
    H2_CONN_CLOSING, /* GOAWAY is said, streams may end */
    H2_CONN_FAILED,
    H2_CONN_STATE_MAX
};

/* A header block whose CONTINUATIONs are still to come. */
struct h2_block {
    uint32_t stream_id; /* 0: none */
    uint32_t dependency;
    bool end_stream;
    unsigned n_continuations;
    uint8_t *bytes;
    size_t n;
};

/* Streams that we reset: what the peer sent before it knew is to be ignored, not punished. */
#define H2_OWN_RESETS 256

struct h2_entry {
    uint32_t id;
    struct h2_stream *stream;
};

struct h2_conn {
    const struct h2_conn_events *events;
    void *data;
    enum h2_conn_state state;
    unsigned busy; /* inside process() or flush(), which need no on_output */
    uint64_t now_usec;

    struct evbuffer *input, *output;
    struct h2_table *table;
    struct h2_block block;

    int64_t send_window, receive_window;
    uint32_t consumed;
    uint32_t peer_initial_window;

    uint32_t last_id;    /* highest stream id the peer has used */
    uint32_t handled_id; /* the same before our GOAWAY, which says it: later ones are ignored */
    struct h2_entry *streams; /* those that have not ended, by id */
    size_t n_streams, n_allocated;
    struct h2_stream_list waiting; /* have data and a window of their own */
    struct h2_stream_list ended;   /* to be freed when nothing runs above */
    size_t queued_bytes;           /* all streams */

    uint32_t own_resets[H2_OWN_RESETS];
    unsigned n_own_resets;
    struct h2_bucket idle_frames, resets;

    const char *failure;
    enum h2_error failure_error;
};

/* h2_output.c: frames into the output. */
void h2_output_frame(struct h2_conn *conn, enum h2_frame_type type, uint8_t flags, uint32_t id,
                     const uint8_t *payload, size_t n);
void h2_output_rst_stream(struct h2_conn *conn, uint32_t id, enum h2_error error);
/* We did so, of late: what the peer sent before it knew is to be ignored. */
bool h2_output_has_reset(const struct h2_conn *conn, uint32_t id);
void h2_output_window_update(struct h2_conn *conn, uint32_t id, uint32_t increment);
void h2_output_goaway(struct h2_conn *conn, enum h2_error error, const char *text);
bool h2_output_has_room(const struct h2_conn *conn);

/* h2_streams.c */
struct h2_stream *h2_streams_find(const struct h2_conn *conn, uint32_t id);
/* Its id is higher than all before. */
void h2_streams_add(struct h2_conn *conn, struct h2_stream *stream);
void h2_streams_remove(struct h2_conn *conn, struct h2_stream *stream);

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct h2_conn *conn, uint32_t id);
struct h2_stream *h2_stream_free(struct h2_stream *stream);
void h2_stream_set_state(struct h2_stream *stream, enum h2_stream_state state);
/* Lets one frame of its queue out, or its trailers; may call on_drain. */
void h2_stream_pump(struct h2_stream *stream);
/* Puts it among the waiting ones, if it could send. */
void h2_stream_wait(struct h2_stream *stream);
/* Ends it for a reason that is not its user's: on_reset. */
void h2_stream_abandon(struct h2_stream *stream, enum h2_error error);

/* h2_frames.c: a failure is the connection's, its text is in conn->failure. */
enum h2_error h2_frames_handle(struct h2_conn *conn, const struct h2_frame *frame);
/* The reason for what is returned; answers `error`. */
enum h2_error h2_frames_fail(struct h2_conn *conn, enum h2_error error, const char *text);
