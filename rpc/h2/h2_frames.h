/* What each frame of the peer means for the connection and its streams (RFC 9113 section 6). Pure.
 * In memory of the connection, which reads the fields; they are written by h2_frames.c only. */
#pragma once

#include "rpc/h2/h2_stream_private.h"

/* A header block whose CONTINUATIONs are still to come. */
struct h2_block {
    uint32_t stream_id; /* 0: none */
    uint32_t dependency;
    bool end_stream;
    unsigned n_continuations;
    uint8_t *bytes;
    size_t n;
};

struct h2_frames {
    struct h2_shared shared;
    struct h2_table *table;
    struct h2_block block;
    int64_t receive_window; /* of the connection */
    uint32_t consumed;      /* not yet given back */
    uint32_t last_id;       /* highest stream id the peer has used */
    uint32_t handled_id;    /* the same before our GOAWAY, which says it: later ones are ignored */
    bool is_closing;        /* our GOAWAY is said */
    uint64_t now_usec;
    struct h2_bucket resets;
    const char *failure; /* static text */
    enum h2_error failure_error;
};

void h2_frames_init(struct h2_frames *frames, const struct h2_conn_events *events, void *data,
                    uint64_t now_usec);
/* on_reset for each stream that is there. */
void h2_frames_done(struct h2_frames *frames);

/* A failure is the connection's, its text is in frames->failure. */
enum h2_error h2_frames_handle(struct h2_frames *frames, const struct h2_frame *frame,
                               uint64_t now_usec);
/* The reason for what is returned; answers `error`. */
enum h2_error h2_frames_fail(struct h2_frames *frames, enum h2_error error, const char *text);
/* Says GOAWAY: new streams are ignored. */
void h2_frames_close(struct h2_frames *frames, enum h2_error error, const char *text);
