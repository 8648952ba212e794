/* What a connection tells its user. A handler may send on its stream, end it or reset it; it must
 * not free the connection. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_codec.h"

struct h2_stream;

struct h2_conn_events {
    /* A new stream; the headers live until the return. */
    void (*on_request)(struct h2_stream *stream, const struct h2_headers *headers, void *data);
    /* Part of the request's body. Give room for more by h2_stream_consume(). */
    void (*on_data)(struct h2_stream *stream, const uint8_t *bytes, size_t n, void *data);
    /* The request is whole. */
    void (*on_end)(struct h2_stream *stream, void *data);
    /* Ended before we ended it, by the peer, by an error or with the connection. The stream is gone
     * after the return. */
    void (*on_reset)(struct h2_stream *stream, enum h2_error error, void *data);
    /* What was queued for the peer's window has gone out. */
    void (*on_drain)(struct h2_stream *stream, void *data);
    /* There is something to flush, queued outside of process() and flush(). */
    void (*on_output)(void *data);
    /* We reset a stream for an error of the peer; for the log. `text` is static. */
    void (*on_stream_error)(uint32_t stream_id, enum h2_error error, const char *text, void *data);
};
