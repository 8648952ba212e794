/* What each frame of the peer means for the connection and its streams (RFC 9113 section 6). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_private.h"

/* --- errors and limits ----------------------------------------------------------------------- */

enum h2_error h2_frames_fail(struct h2_conn *conn, enum h2_error error, const char *text)
{
    conn->failure_error = error;
    conn->failure = text;
    return error;
}

static enum h2_error take_reset(struct h2_conn *conn)
{
    if (!h2_bucket_take(&conn->resets, 1, conn->now_usec))
        return h2_frames_fail(conn, H2_ENHANCE_YOUR_CALM, "too many streams end by a reset");
    return H2_NO_ERROR;
}

static enum h2_error take_idle_frame(struct h2_conn *conn)
{
    if (!h2_bucket_take(&conn->idle_frames, 1, conn->now_usec))
        return h2_frames_fail(conn, H2_ENHANCE_YOUR_CALM, "too many frames that carry nothing");
    return H2_NO_ERROR;
}

/* An error of one stream, which may be no longer or not yet there. It counts as a reset: a peer
 * that makes us reset its streams is as costly as one that does it itself. */
static enum h2_error reset_stream(struct h2_conn *conn, uint32_t id, enum h2_error error,
                                  const char *text)
{
    h2_output_rst_stream(conn, id, error);
    conn->events->on_stream_error(id, error, text, conn->data);
    struct h2_stream *stream = h2_streams_find(conn, id);
    if (stream)
        h2_stream_abandon(stream, error);
    return take_reset(conn);
}

/* --- HEADERS, CONTINUATION ------------------------------------------------------------------- */

/* RFC 9113 section 8.2.2; te is checked by the library. */
static bool is_forbidden(struct h2_text name)
{
    static const char *const forbidden[] = {
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
    };
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
        if (h2_text_is(name, forbidden[i]))
            return true;
    return false;
}

/* NULL: well-formed. */
static const char *find_fault(const struct h2_headers *headers, enum h2_block_kind kind)
{
    for (size_t i = 0; i < headers->n_items; i++) {
        if (headers->items[i].name.n == 0)
            return "a header has no name";
        if (is_forbidden(headers->items[i].name))
            return "a header of HTTP/1 connections is not allowed";
    }
    if (kind == H2_BLOCK_TRAILERS)
        return NULL;
    if (!headers->method.s || !headers->has_scheme || headers->path.n == 0)
        return ":method, :scheme or :path is missing";
    return NULL;
}

static enum h2_error refuse_short_body(struct h2_conn *conn, uint32_t id)
{
    return reset_stream(conn, id, H2_PROTOCOL_ERROR, "the body is shorter than content-length");
}

static enum h2_error refuse_long_list(struct h2_conn *conn, uint32_t id)
{
    return reset_stream(conn, id, H2_ENHANCE_YOUR_CALM, "too many headers, or too long ones");
}

static enum h2_error end_of_body(struct h2_conn *conn, struct h2_stream *stream)
{
    if (stream->body_left > 0)
        return refuse_short_body(conn, stream->id);
    h2_stream_set_state(stream, H2_STREAM_HALF_CLOSED);
    if (!stream->told)
        conn->events->on_end(stream, conn->data);
    return H2_NO_ERROR;
}

static enum h2_error open_stream(struct h2_conn *conn, const struct h2_block *block,
                                 const struct h2_headers *headers, bool malformed)
{
    uint32_t id = block->stream_id;
    const char *fault = malformed ? "a header holds a character that is not allowed"
                                  : find_fault(headers, H2_BLOCK_REQUEST);
    if (fault)
        return reset_stream(conn, id, H2_PROTOCOL_ERROR, fault);
    if (headers->list_bytes > H2_HEADER_LIST_MAX)
        return refuse_long_list(conn, id);
    if (block->dependency == id)
        return reset_stream(conn, id, H2_PROTOCOL_ERROR, "the stream depends on itself");
    if (conn->n_streams >= H2_STREAMS_MAX)
        return reset_stream(conn, id, H2_REFUSED_STREAM, "too many streams are open");
    if (block->end_stream && headers->content_length > 0)
        return refuse_short_body(conn, id);
    struct h2_stream *stream = h2_stream_new(conn, id);
    h2_streams_add(conn, stream);
    stream->body_left = headers->content_length;
    /* Before its user hears of it: an answer at once need not stop a peer that has said all. */
    if (block->end_stream)
        h2_stream_set_state(stream, H2_STREAM_HALF_CLOSED);
    conn->events->on_request(stream, headers, conn->data);
    if (block->end_stream && !stream->told)
        conn->events->on_end(stream, conn->data);
    return H2_NO_ERROR;
}

static enum h2_error handle_trailers(struct h2_conn *conn, struct h2_stream *stream,
                                     const struct h2_block *block,
                                     const struct h2_headers *headers, bool malformed)
{
    if (stream->state == H2_STREAM_HALF_CLOSED)
        return reset_stream(conn, stream->id, H2_STREAM_CLOSED, "HEADERS after the stream's end");
    if (malformed || find_fault(headers, H2_BLOCK_TRAILERS))
        return reset_stream(conn, stream->id, H2_PROTOCOL_ERROR, "malformed trailers");
    if (headers->list_bytes > H2_HEADER_LIST_MAX)
        return refuse_long_list(conn, stream->id);
    if (!block->end_stream)
        return reset_stream(conn, stream->id, H2_PROTOCOL_ERROR, "trailers do not end the stream");
    return end_of_body(conn, stream);
}

static enum h2_error handle_decoded(struct h2_conn *conn, struct h2_stream *stream, bool is_new,
                                    const struct h2_block *block,
                                    const struct h2_headers *headers, bool malformed)
{
    if (stream)
        return handle_trailers(conn, stream, block, headers, malformed);
    /* after GOAWAY the peer knows from its last id that this was not handled */
    if (conn->state == H2_CONN_CLOSING)
        return take_idle_frame(conn);
    if (is_new)
        return open_stream(conn, block, headers, malformed);
    if (h2_output_has_reset(conn, block->stream_id))
        return take_idle_frame(conn);
    return h2_frames_fail(conn, H2_STREAM_CLOSED, "HEADERS on a closed stream");
}

/* Decoded in any case: the table must stay in step. */
static enum h2_error handle_block(struct h2_conn *conn, const struct h2_block *block)
{
    struct h2_stream *stream = h2_streams_find(conn, block->stream_id);
    bool is_new = block->stream_id > conn->last_id, malformed = false;
    if (is_new)
        conn->last_id = block->stream_id;
    if (is_new && conn->state == H2_CONN_OPEN)
        conn->handled_id = block->stream_id;
    struct h2_headers headers;
    /* On a stream that takes none any more it does not matter which kind they are. */
    bool is_trailers = stream && stream->state == H2_STREAM_OPEN;
    enum h2_error error = h2_codec_decode_block(
            conn->table, (struct h2_slice){ block->bytes, block->n },
            is_trailers ? H2_BLOCK_TRAILERS : H2_BLOCK_REQUEST, &headers, &malformed);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "a header block can't be decoded");
    error = handle_decoded(conn, stream, is_new, block, &headers, malformed);
    h2_codec_release();
    return error;
}

static enum h2_error append_block(struct h2_conn *conn, struct h2_slice part)
{
    struct h2_block *block = &conn->block;
    if (part.n > H2_HEADER_BLOCK_MAX - block->n)
        return h2_frames_fail(conn, H2_ENHANCE_YOUR_CALM,
                              "a header block is longer than 16384 bytes");
    if (part.n == 0)
        return H2_NO_ERROR;
    block->bytes = alloc_grow(block->bytes, block->n + part.n, 1);
    memcpy(block->bytes + block->n, part.bytes, part.n);
    block->n += part.n;
    return H2_NO_ERROR;
}

static enum h2_error handle_headers(struct h2_conn *conn, const struct h2_frame *frame)
{
    struct h2_slice part;
    uint32_t dependency = 0;
    enum h2_error error = h2_codec_decode_headers(frame, &part, &dependency);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed HEADERS frame");
    if (frame->stream_id % 2 == 0)
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "a client's stream id must be odd");
    struct h2_block block = {
        .stream_id = frame->stream_id,
        .dependency = dependency,
        .end_stream = (frame->flags & H2_FLAG_END_STREAM) != 0,
    };
    if ((frame->flags & H2_FLAG_END_HEADERS) == 0) {
        conn->block = block;
        return append_block(conn, part);
    }
    /* the usual case: whole, and used where it lies (the codec only reads) */
    block.bytes = (uint8_t *)(uintptr_t)part.bytes;
    block.n = part.n;
    return handle_block(conn, &block);
}

static enum h2_error handle_continuation(struct h2_conn *conn, const struct h2_frame *frame)
{
    if (conn->block.stream_id == 0)
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "CONTINUATION without HEADERS");
    if (++conn->block.n_continuations > H2_CONTINUATIONS_MAX)
        return h2_frames_fail(conn, H2_ENHANCE_YOUR_CALM,
                              "too many CONTINUATION frames for one header block");
    enum h2_error error =
            append_block(conn, (struct h2_slice){ frame->payload, frame->length });
    if (error != H2_NO_ERROR || (frame->flags & H2_FLAG_END_HEADERS) == 0)
        return error;
    struct h2_block block = conn->block;
    conn->block = (struct h2_block){};
    error = handle_block(conn, &block);
    free(block.bytes);
    return error;
}

/* --- DATA ------------------------------------------------------------------------------------ */

/* The connection's window is given back at once: what a stream holds up is its own window's
 * business, and must not stop the others. */
static enum h2_error account_received(struct h2_conn *conn, uint32_t n)
{
    if (n > conn->receive_window)
        return h2_frames_fail(conn, H2_FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    conn->receive_window -= n;
    conn->consumed += n;
    if (conn->consumed >= H2_CONN_WINDOW / 2) {
        h2_output_window_update(conn, 0, conn->consumed);
        conn->receive_window += conn->consumed;
        conn->consumed = 0;
    }
    return H2_NO_ERROR;
}

static enum h2_error handle_stray_data(struct h2_conn *conn, uint32_t id)
{
    if (id % 2 == 0 || id > conn->last_id)
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "DATA on an idle stream");
    if (conn->state == H2_CONN_CLOSING || h2_output_has_reset(conn, id))
        return take_idle_frame(conn);
    return reset_stream(conn, id, H2_STREAM_CLOSED, "DATA on a closed stream");
}

static enum h2_error deliver_data(struct h2_conn *conn, struct h2_stream *stream,
                                  const struct h2_frame *frame, struct h2_slice data)
{
    stream->receive_window -= frame->length;
    if (stream->body_left >= 0) {
        if ((int64_t)data.n > stream->body_left)
            return reset_stream(conn, stream->id, H2_PROTOCOL_ERROR,
                                "the body is longer than content-length");
        stream->body_left -= (int64_t)data.n;
    }
    if (stream->told)
        h2_stream_consume(stream, frame->length); /* its answer is on the way, nobody reads */
    else
        h2_stream_consume(stream, frame->length - data.n); /* padding */
    if (data.n > 0 && !stream->told)
        conn->events->on_data(stream, data.bytes, data.n, conn->data);
    if ((frame->flags & H2_FLAG_END_STREAM) == 0 || stream->state == H2_STREAM_ENDED)
        return H2_NO_ERROR;
    return end_of_body(conn, stream);
}

static enum h2_error handle_data(struct h2_conn *conn, const struct h2_frame *frame)
{
    struct h2_slice data;
    enum h2_error error = h2_codec_decode_data(frame, &data);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed DATA frame");
    error = account_received(conn, frame->length);
    if (error == H2_NO_ERROR && data.n == 0 && (frame->flags & H2_FLAG_END_STREAM) == 0)
        error = take_idle_frame(conn);
    if (error != H2_NO_ERROR)
        return error;
    struct h2_stream *stream = h2_streams_find(conn, frame->stream_id);
    if (!stream)
        return handle_stray_data(conn, frame->stream_id);
    if (stream->state == H2_STREAM_HALF_CLOSED)
        return reset_stream(conn, stream->id, H2_STREAM_CLOSED, "DATA after the stream's end");
    if (frame->length > stream->receive_window)
        return reset_stream(conn, stream->id, H2_FLOW_CONTROL_ERROR,
                            "DATA beyond the stream's window");
    return deliver_data(conn, stream, frame, data);
}

/* --- the others ------------------------------------------------------------------------------ */

static enum h2_error handle_priority(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t dependency = 0;
    enum h2_error error = h2_codec_decode_priority(frame, &dependency);
    if (error == H2_NO_ERROR && dependency == frame->stream_id)
        error = H2_PROTOCOL_ERROR;
    if (error == H2_NO_ERROR)
        return take_idle_frame(conn);
    /* An idle stream can't be reset. */
    if (h2_streams_find(conn, frame->stream_id))
        return reset_stream(conn, frame->stream_id, error, "malformed PRIORITY frame");
    return h2_frames_fail(conn, error, "malformed PRIORITY frame");
}

static enum h2_error handle_rst_stream(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t code = 0;
    enum h2_error error = h2_codec_decode_rst_stream(frame, &code);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed RST_STREAM frame");
    if (frame->stream_id % 2 == 0 || frame->stream_id > conn->last_id)
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "RST_STREAM on an idle stream");
    struct h2_stream *stream = h2_streams_find(conn, frame->stream_id);
    if (!stream)
        return take_idle_frame(conn);
    h2_stream_abandon(stream, code < H2_ERROR_MAX ? (enum h2_error)code : H2_INTERNAL_ERROR);
    return take_reset(conn);
}

/* Moves the windows of all streams, which may make them negative (section 6.9.2). */
static enum h2_error change_windows(struct h2_conn *conn, uint32_t initial_window)
{
    int64_t change = (int64_t)initial_window - conn->peer_initial_window;
    conn->peer_initial_window = initial_window;
    for (size_t i = 0; change != 0 && i < conn->n_streams; i++) {
        struct h2_stream *stream = conn->streams[i].stream;
        if (stream->send_window + change > H2_WINDOW_MAX)
            return h2_frames_fail(conn, H2_FLOW_CONTROL_ERROR,
                                  "SETTINGS make a stream's window too large");
        stream->send_window += change;
        if (stream->waiting && stream->send_window <= 0) {
            TAILQ_REMOVE(&conn->waiting, stream, link);
            stream->waiting = false;
        }
        h2_stream_wait(stream);
    }
    return H2_NO_ERROR;
}

static enum h2_error handle_settings(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t initial_window = conn->peer_initial_window;
    enum h2_error error = h2_codec_decode_settings(frame, &initial_window);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed SETTINGS frame");
    error = take_idle_frame(conn);
    if (error != H2_NO_ERROR || (frame->flags & H2_FLAG_ACK) != 0)
        return error;
    error = change_windows(conn, initial_window);
    if (error == H2_NO_ERROR)
        h2_output_frame(conn, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
    return error;
}

static enum h2_error handle_push_promise(struct h2_conn *conn, const struct h2_frame *frame)
{
    (void)frame;
    return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "a client can't send PUSH_PROMISE");
}

static enum h2_error handle_ping(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint8_t data[8];
    enum h2_error error = h2_codec_decode_ping(frame, data);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed PING frame");
    error = take_idle_frame(conn);
    if (error == H2_NO_ERROR && (frame->flags & H2_FLAG_ACK) == 0)
        h2_output_frame(conn, H2_PING, H2_FLAG_ACK, 0, data, sizeof(data));
    return error;
}

/* The peer opens no more streams, but those that are there may end; it closes the connection. */
static enum h2_error handle_goaway(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t code = 0;
    enum h2_error error = h2_codec_decode_goaway(frame, &code);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "malformed GOAWAY frame");
    return take_idle_frame(conn);
}

static enum h2_error grow_window(int64_t *window, uint32_t increment)
{
    if (*window + increment > H2_WINDOW_MAX)
        return H2_FLOW_CONTROL_ERROR;
    *window += increment;
    return H2_NO_ERROR;
}

static enum h2_error update_stream_window(struct h2_conn *conn, const struct h2_frame *frame,
                                          enum h2_error error, uint32_t increment)
{
    if (frame->stream_id % 2 == 0 || frame->stream_id > conn->last_id)
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream");
    struct h2_stream *stream = h2_streams_find(conn, frame->stream_id);
    if (!stream)
        return H2_NO_ERROR;
    if (error == H2_NO_ERROR)
        error = grow_window(&stream->send_window, increment);
    if (error != H2_NO_ERROR)
        return reset_stream(conn, stream->id, error, "WINDOW_UPDATE by nothing or by too much");
    h2_stream_wait(stream);
    return H2_NO_ERROR;
}

static enum h2_error handle_window_update(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t increment = 0;
    enum h2_error limit = take_idle_frame(conn);
    if (limit != H2_NO_ERROR)
        return limit;
    enum h2_error error = h2_codec_decode_window_update(frame, &increment);
    if (error == H2_FRAME_SIZE_ERROR)
        return h2_frames_fail(conn, error, "malformed WINDOW_UPDATE frame");
    if (frame->stream_id != 0)
        return update_stream_window(conn, frame, error, increment);
    if (error == H2_NO_ERROR)
        error = grow_window(&conn->send_window, increment);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(conn, error, "WINDOW_UPDATE by nothing or by too much");
    return H2_NO_ERROR;
}

static enum h2_error (*const frame_handlers[H2_FRAME_TYPE_MAX])(struct h2_conn *conn,
                                                                const struct h2_frame *frame) = {
    [H2_DATA] = handle_data,
    [H2_HEADERS] = handle_headers,
    [H2_PRIORITY] = handle_priority,
    [H2_RST_STREAM] = handle_rst_stream,
    [H2_SETTINGS] = handle_settings,
    [H2_PUSH_PROMISE] = handle_push_promise,
    [H2_PING] = handle_ping,
    [H2_GOAWAY] = handle_goaway,
    [H2_WINDOW_UPDATE] = handle_window_update,
    [H2_CONTINUATION] = handle_continuation,
};

enum h2_error h2_frames_handle(struct h2_conn *conn, const struct h2_frame *frame)
{
    if (conn->block.stream_id != 0 &&
        (frame->type != H2_CONTINUATION || frame->stream_id != conn->block.stream_id))
        return h2_frames_fail(conn, H2_PROTOCOL_ERROR,
                              "a header block is interrupted by another frame");
    if (frame->type >= H2_FRAME_TYPE_MAX)
        return take_idle_frame(conn);
    return frame_handlers[frame->type](conn, frame);
}
