/* One request and its answer on an HTTP/2 connection. Owner: the connection. A pointer to it is
 * good from on_request until h2_stream_send_trailers(), h2_stream_reset() or on_reset, whichever
 * comes first; then there are no more events for it. Nothing here calls back before returning,
 * except on_output. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_codec.h"

struct h2_stream;

uint32_t h2_stream_id(const struct h2_stream *stream);
/* The user's own pointer, at first NULL. */
void h2_stream_set_data(struct h2_stream *stream, void *data);
void *h2_stream_data(const struct h2_stream *stream);

/* Blocks are encoded headers of at most H2_FRAME_PAYLOAD_MAX bytes (h2_codec_encode_header). The
 * order is: headers once, data any times, trailers once; or trailers alone. */
void h2_stream_send_headers(struct h2_stream *stream, const uint8_t *block, size_t n);
/* Copies. -ENOBUFS, and nothing was sent: H2_QUEUED_MAX would be exceeded. */
int h2_stream_send_data(struct h2_stream *stream, const uint8_t *bytes, size_t n);
/* Ends the stream once the data are out. */
void h2_stream_send_trailers(struct h2_stream *stream, const uint8_t *block, size_t n);
void h2_stream_reset(struct h2_stream *stream, enum h2_error error);

/* Data that the peer's windows have not let out yet. */
size_t h2_stream_queued_bytes(const struct h2_stream *stream);
/* `n` bytes of what on_data gave are dealt with: the peer may send as many again. A receiver that
 * holds this back slows its peer down. */
void h2_stream_consume(struct h2_stream *stream, size_t n);
