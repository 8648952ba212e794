/* Frames to the peer, and what bounds them: its window for the connection, and the room that there
 * is. Pure. In memory of its user, the connection; others read the fields, and write none. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_codec.h"

/* Streams that we reset of late: what the peer sent before it knew is to be ignored, not
 * punished. */
#define H2_OUTPUT_RESETS 256

struct h2_output {
    struct evbuffer *bytes;
    int64_t window; /* DATA that the peer takes, all streams together */
    uint32_t resets[H2_OUTPUT_RESETS];
    unsigned n_resets;
    unsigned n_holds;
    void (*on_output)(void *data);
    void *data;
};

/* `on_output`: bytes were added while nobody held it. */
void h2_output_init(struct h2_output *output, void (*on_output)(void *data), void *data);
void h2_output_done(struct h2_output *output);

/* Around what is followed by a flush anyway. Releasing answers whether nobody else holds it. */
void h2_output_hold(struct h2_output *output);
bool h2_output_release(struct h2_output *output);

/* Any frame but DATA. */
void h2_output_frame(struct h2_output *output, enum h2_frame_type type, uint8_t flags, uint32_t id,
                     const uint8_t *payload, size_t n);
void h2_output_rst_stream(struct h2_output *output, uint32_t id, enum h2_error error);
/* We did so, of late. */
bool h2_output_has_reset(const struct h2_output *output, uint32_t id);
void h2_output_window_update(struct h2_output *output, uint32_t id, uint32_t increment);
void h2_output_goaway(struct h2_output *output, uint32_t last_id, enum h2_error error,
                      const char *text);

/* Less than H2_OUTPUT_MAX bytes wait for the socket. */
bool h2_output_has_room(const struct h2_output *output);
/* How many of `n` bytes may go out in the next frame of DATA. */
size_t h2_output_allowed(const struct h2_output *output, size_t n);
/* One frame of DATA with bytes, or with the first of a queue: no more than is allowed. */
void h2_output_data(struct h2_output *output, uint32_t id, const uint8_t *bytes, size_t n);
void h2_output_queue(struct h2_output *output, uint32_t id, struct evbuffer *queue, size_t n);
/* H2_FLOW_CONTROL_ERROR: it would be larger than the protocol allows. */
enum h2_error h2_output_grow_window(struct h2_output *output, uint32_t increment);
