#include "rpc/h2/h2_frames.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_limits.h"

/* --- errors and limits ----------------------------------------------------------------------- */

enum h2_error h2_frames_fail(struct h2_frames *frames, enum h2_error error, const char *text)
{
    frames->failure_error = error;
    frames->failure = text;
    return error;
}

static enum h2_error take_reset(struct h2_frames *frames)
{
    if (!h2_bucket_take(&frames->resets, 1, frames->now_usec))
        return h2_frames_fail(frames, H2_ENHANCE_YOUR_CALM, "too many streams end by a reset");
    return H2_NO_ERROR;
}

static enum h2_error take_idle_frame(struct h2_frames *frames)
{
    if (!h2_bucket_take(&frames->shared.idle_frames, 1, frames->now_usec))
        return h2_frames_fail(frames, H2_ENHANCE_YOUR_CALM, "too many frames that carry nothing");
    return H2_NO_ERROR;
}

/* An error of one stream, which may be no longer or not yet there. It counts as a reset: a peer
 * that makes us reset its streams is as costly as one that does it itself. */
static enum h2_error reset_stream(struct h2_frames *frames, uint32_t id, enum h2_error error,
                                  const char *text)
{
    h2_output_rst_stream(&frames->shared.output, id, error);
    frames->shared.events->on_stream_error(id, error, text, frames->shared.data);
    struct h2_stream *stream = h2_streams_find(&frames->shared.streams, id);
    if (stream)
        h2_stream_abandon(stream, error);
    return take_reset(frames);
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

static enum h2_error refuse_short_body(struct h2_frames *frames, uint32_t id)
{
    return reset_stream(frames, id, H2_PROTOCOL_ERROR, "the body is shorter than content-length");
}

static enum h2_error refuse_long_list(struct h2_frames *frames, uint32_t id)
{
    return reset_stream(frames, id, H2_ENHANCE_YOUR_CALM, "too many headers, or too long ones");
}

static enum h2_error end_of_body(struct h2_frames *frames, struct h2_stream *stream)
{
    if (stream->body_left > 0)
        return refuse_short_body(frames, stream->id);
    h2_stream_half_close(stream);
    if (!stream->told)
        frames->shared.events->on_end(stream, frames->shared.data);
    return H2_NO_ERROR;
}

static enum h2_error open_stream(struct h2_frames *frames, const struct h2_block *block,
                                 const struct h2_headers *headers, bool malformed)
{
    uint32_t id = block->stream_id;
    const char *fault = malformed ? "a header holds a character that is not allowed"
                                  : find_fault(headers, H2_BLOCK_REQUEST);
    if (fault)
        return reset_stream(frames, id, H2_PROTOCOL_ERROR, fault);
    if (headers->list_bytes > H2_HEADER_LIST_MAX)
        return refuse_long_list(frames, id);
    if (block->dependency == id)
        return reset_stream(frames, id, H2_PROTOCOL_ERROR, "the stream depends on itself");
    if (frames->shared.streams.n >= H2_STREAMS_MAX)
        return reset_stream(frames, id, H2_REFUSED_STREAM, "too many streams are open");
    if (block->end_stream && headers->content_length > 0)
        return refuse_short_body(frames, id);
    struct h2_stream *stream = h2_stream_new(&frames->shared, id, headers->content_length);
    /* Before its user hears of it: an answer at once need not stop a peer that has said all. */
    if (block->end_stream)
        h2_stream_half_close(stream);
    frames->shared.events->on_request(stream, headers, frames->shared.data);
    if (block->end_stream && !stream->told)
        frames->shared.events->on_end(stream, frames->shared.data);
    return H2_NO_ERROR;
}

static enum h2_error handle_trailers(struct h2_frames *frames, struct h2_stream *stream,
                                     const struct h2_block *block, const struct h2_headers *headers,
                                     bool malformed)
{
    if (stream->state == H2_STREAM_HALF_CLOSED)
        return reset_stream(frames, stream->id, H2_STREAM_CLOSED, "HEADERS after the stream's end");
    if (malformed || find_fault(headers, H2_BLOCK_TRAILERS))
        return reset_stream(frames, stream->id, H2_PROTOCOL_ERROR, "malformed trailers");
    if (headers->list_bytes > H2_HEADER_LIST_MAX)
        return refuse_long_list(frames, stream->id);
    if (!block->end_stream)
        return reset_stream(frames, stream->id, H2_PROTOCOL_ERROR,
                            "trailers do not end the stream");
    return end_of_body(frames, stream);
}

static enum h2_error handle_decoded(struct h2_frames *frames, struct h2_stream *stream, bool is_new,
                                    const struct h2_block *block, const struct h2_headers *headers,
                                    bool malformed)
{
    if (stream)
        return handle_trailers(frames, stream, block, headers, malformed);
    /* after GOAWAY the peer knows from its last id that this was not handled */
    if (frames->is_closing)
        return take_idle_frame(frames);
    if (is_new)
        return open_stream(frames, block, headers, malformed);
    if (h2_output_has_reset(&frames->shared.output, block->stream_id))
        return take_idle_frame(frames);
    return h2_frames_fail(frames, H2_STREAM_CLOSED, "HEADERS on a closed stream");
}

/* Decoded in any case: the table must stay in step. */
static enum h2_error handle_block(struct h2_frames *frames, const struct h2_block *block)
{
    struct h2_stream *stream = h2_streams_find(&frames->shared.streams, block->stream_id);
    bool is_new = block->stream_id > frames->last_id, malformed = false;
    if (is_new)
        frames->last_id = block->stream_id;
    if (is_new && !frames->is_closing)
        frames->handled_id = block->stream_id;
    struct h2_headers headers;
    /* On a stream that takes none any more it does not matter which kind they are. */
    bool is_trailers = stream && stream->state == H2_STREAM_OPEN;
    enum h2_error error = h2_codec_decode_block(frames->table,
                                                (struct h2_slice){ block->bytes, block->n },
                                                is_trailers ? H2_BLOCK_TRAILERS : H2_BLOCK_REQUEST,
                                                &headers, &malformed);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "a header block can't be decoded");
    error = handle_decoded(frames, stream, is_new, block, &headers, malformed);
    h2_codec_release();
    return error;
}

static enum h2_error append_block(struct h2_frames *frames, struct h2_slice part)
{
    struct h2_block *block = &frames->block;
    if (part.n > H2_HEADER_BLOCK_MAX - block->n)
        return h2_frames_fail(frames, H2_ENHANCE_YOUR_CALM,
                              "a header block is longer than 16384 bytes");
    if (part.n == 0)
        return H2_NO_ERROR;
    block->bytes = alloc_grow(block->bytes, block->n + part.n, 1);
    memcpy(block->bytes + block->n, part.bytes, part.n);
    block->n += part.n;
    return H2_NO_ERROR;
}

static enum h2_error handle_headers(struct h2_frames *frames, const struct h2_frame *frame)
{
    struct h2_slice part;
    uint32_t dependency = 0;
    enum h2_error error = h2_codec_decode_headers(frame, &part, &dependency);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed HEADERS frame");
    if (frame->stream_id % 2 == 0)
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "a client's stream id must be odd");
    struct h2_block block = {
        .stream_id = frame->stream_id,
        .dependency = dependency,
        .end_stream = (frame->flags & H2_FLAG_END_STREAM) != 0,
    };
    if ((frame->flags & H2_FLAG_END_HEADERS) == 0) {
        frames->block = block;
        return append_block(frames, part);
    }
    /* the usual case: whole, and used where it lies (the codec only reads) */
    block.bytes = (uint8_t *)(uintptr_t)part.bytes;
    block.n = part.n;
    return handle_block(frames, &block);
}

static enum h2_error handle_continuation(struct h2_frames *frames, const struct h2_frame *frame)
{
    if (frames->block.stream_id == 0)
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "CONTINUATION without HEADERS");
    if (++frames->block.n_continuations > H2_CONTINUATIONS_MAX)
        return h2_frames_fail(frames, H2_ENHANCE_YOUR_CALM,
                              "too many CONTINUATION frames for one header block");
    enum h2_error error = append_block(frames, (struct h2_slice){ frame->payload, frame->length });
    if (error != H2_NO_ERROR || (frame->flags & H2_FLAG_END_HEADERS) == 0)
        return error;
    struct h2_block block = frames->block;
    frames->block = (struct h2_block){};
    error = handle_block(frames, &block);
    free(block.bytes);
    return error;
}

/* --- DATA ------------------------------------------------------------------------------------ */

/* The connection's window is given back at once: what a stream holds up is its own window's
 * business, and must not stop the others. */
static enum h2_error account_received(struct h2_frames *frames, uint32_t n)
{
    if (n > frames->receive_window)
        return h2_frames_fail(frames, H2_FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    frames->receive_window -= n;
    frames->consumed += n;
    if (frames->consumed >= H2_CONN_WINDOW / 2) {
        h2_output_window_update(&frames->shared.output, 0, frames->consumed);
        frames->receive_window += frames->consumed;
        frames->consumed = 0;
    }
    return H2_NO_ERROR;
}

static enum h2_error handle_stray_data(struct h2_frames *frames, uint32_t id)
{
    if (id % 2 == 0 || id > frames->last_id)
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "DATA on an idle stream");
    if (frames->is_closing || h2_output_has_reset(&frames->shared.output, id))
        return take_idle_frame(frames);
    return reset_stream(frames, id, H2_STREAM_CLOSED, "DATA on a closed stream");
}

static enum h2_error deliver_data(struct h2_frames *frames, struct h2_stream *stream,
                                  const struct h2_frame *frame, struct h2_slice data)
{
    if (!h2_stream_take_body(stream, data.n))
        return reset_stream(frames, stream->id, H2_PROTOCOL_ERROR,
                            "the body is longer than content-length");
    if (stream->told)
        h2_stream_consume(stream, frame->length); /* its answer is on the way, nobody reads */
    else
        h2_stream_consume(stream, frame->length - data.n); /* padding */
    if (data.n > 0 && !stream->told)
        frames->shared.events->on_data(stream, data.bytes, data.n, frames->shared.data);
    if ((frame->flags & H2_FLAG_END_STREAM) == 0 || stream->state == H2_STREAM_ENDED)
        return H2_NO_ERROR;
    return end_of_body(frames, stream);
}

static enum h2_error handle_data(struct h2_frames *frames, const struct h2_frame *frame)
{
    struct h2_slice data;
    enum h2_error error = h2_codec_decode_data(frame, &data);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed DATA frame");
    error = account_received(frames, frame->length);
    if (error == H2_NO_ERROR && data.n == 0 && (frame->flags & H2_FLAG_END_STREAM) == 0)
        error = take_idle_frame(frames);
    if (error != H2_NO_ERROR)
        return error;
    struct h2_stream *stream = h2_streams_find(&frames->shared.streams, frame->stream_id);
    if (!stream)
        return handle_stray_data(frames, frame->stream_id);
    if (stream->state == H2_STREAM_HALF_CLOSED)
        return reset_stream(frames, stream->id, H2_STREAM_CLOSED, "DATA after the stream's end");
    if (!h2_stream_take_window(stream, frame->length))
        return reset_stream(frames, stream->id, H2_FLOW_CONTROL_ERROR,
                            "DATA beyond the stream's window");
    return deliver_data(frames, stream, frame, data);
}

/* --- the others ------------------------------------------------------------------------------ */

static enum h2_error handle_priority(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint32_t dependency = 0;
    enum h2_error error = h2_codec_decode_priority(frame, &dependency);
    if (error == H2_NO_ERROR && dependency == frame->stream_id)
        error = H2_PROTOCOL_ERROR;
    if (error == H2_NO_ERROR)
        return take_idle_frame(frames);
    /* An idle stream can't be reset. */
    if (h2_streams_find(&frames->shared.streams, frame->stream_id))
        return reset_stream(frames, frame->stream_id, error, "malformed PRIORITY frame");
    return h2_frames_fail(frames, error, "malformed PRIORITY frame");
}

static enum h2_error handle_rst_stream(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint32_t code = 0;
    enum h2_error error = h2_codec_decode_rst_stream(frame, &code);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed RST_STREAM frame");
    if (frame->stream_id % 2 == 0 || frame->stream_id > frames->last_id)
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "RST_STREAM on an idle stream");
    struct h2_stream *stream = h2_streams_find(&frames->shared.streams, frame->stream_id);
    if (!stream)
        return take_idle_frame(frames);
    h2_stream_abandon(stream, code < H2_ERROR_MAX ? (enum h2_error)code : H2_INTERNAL_ERROR);
    return take_reset(frames);
}

static enum h2_error handle_settings(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint32_t initial_window = frames->shared.initial_window;
    enum h2_error error = h2_codec_decode_settings(frame, &initial_window);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed SETTINGS frame");
    error = take_idle_frame(frames);
    if (error != H2_NO_ERROR || (frame->flags & H2_FLAG_ACK) != 0)
        return error;
    error = h2_stream_set_initial_window(&frames->shared, initial_window);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "SETTINGS make a stream's window too large");
    h2_output_frame(&frames->shared.output, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
    return H2_NO_ERROR;
}

static enum h2_error handle_push_promise(struct h2_frames *frames, const struct h2_frame *frame)
{
    (void)frame;
    return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "a client can't send PUSH_PROMISE");
}

static enum h2_error handle_ping(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint8_t data[8];
    enum h2_error error = h2_codec_decode_ping(frame, data);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed PING frame");
    error = take_idle_frame(frames);
    if (error == H2_NO_ERROR && (frame->flags & H2_FLAG_ACK) == 0)
        h2_output_frame(&frames->shared.output, H2_PING, H2_FLAG_ACK, 0, data, sizeof(data));
    return error;
}

/* The peer opens no more streams, but those that are there may end; it closes the connection. */
static enum h2_error handle_goaway(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint32_t code = 0;
    enum h2_error error = h2_codec_decode_goaway(frame, &code);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "malformed GOAWAY frame");
    return take_idle_frame(frames);
}

static enum h2_error update_stream_window(struct h2_frames *frames, const struct h2_frame *frame,
                                          enum h2_error error, uint32_t increment)
{
    if (frame->stream_id % 2 == 0 || frame->stream_id > frames->last_id)
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream");
    struct h2_stream *stream = h2_streams_find(&frames->shared.streams, frame->stream_id);
    if (!stream)
        return H2_NO_ERROR;
    if (error == H2_NO_ERROR)
        error = h2_stream_grow_window(stream, increment);
    if (error != H2_NO_ERROR)
        return reset_stream(frames, stream->id, error, "WINDOW_UPDATE by nothing or by too much");
    return H2_NO_ERROR;
}

static enum h2_error handle_window_update(struct h2_frames *frames, const struct h2_frame *frame)
{
    uint32_t increment = 0;
    enum h2_error limit = take_idle_frame(frames);
    if (limit != H2_NO_ERROR)
        return limit;
    enum h2_error error = h2_codec_decode_window_update(frame, &increment);
    if (error == H2_FRAME_SIZE_ERROR)
        return h2_frames_fail(frames, error, "malformed WINDOW_UPDATE frame");
    if (frame->stream_id != 0)
        return update_stream_window(frames, frame, error, increment);
    if (error == H2_NO_ERROR)
        error = h2_output_grow_window(&frames->shared.output, increment);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(frames, error, "WINDOW_UPDATE by nothing or by too much");
    return H2_NO_ERROR;
}

static enum h2_error (*const frame_handlers[H2_FRAME_TYPE_MAX])(struct h2_frames *frames,
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

enum h2_error h2_frames_handle(struct h2_frames *frames, const struct h2_frame *frame,
                               uint64_t now_usec)
{
    const struct h2_block *block = &frames->block;
    frames->now_usec = now_usec;
    if (block->stream_id != 0 &&
        (frame->type != H2_CONTINUATION || frame->stream_id != block->stream_id))
        return h2_frames_fail(frames, H2_PROTOCOL_ERROR,
                              "a header block is interrupted by another frame");
    if (frame->type >= H2_FRAME_TYPE_MAX)
        return take_idle_frame(frames);
    return frame_handlers[frame->type](frames, frame);
}

/* --- life ------------------------------------------------------------------------------------ */

void h2_frames_init(struct h2_frames *frames, const struct h2_conn_events *events, void *data,
                    uint64_t now_usec)
{
    *frames = (struct h2_frames){
        .table = h2_table_new(),
        .receive_window = H2_CONN_WINDOW,
        .now_usec = now_usec,
    };
    h2_stream_shared_init(&frames->shared, events, data, now_usec);
    h2_bucket_init(&frames->resets, H2_RESETS_BURST, H2_RESETS_PER_SECOND, now_usec);
}

void h2_frames_done(struct h2_frames *frames)
{
    h2_stream_shared_done(&frames->shared);
    frames->table = h2_table_free(frames->table);
    free(frames->block.bytes);
    frames->block = (struct h2_block){};
}

void h2_frames_close(struct h2_frames *frames, enum h2_error error, const char *text)
{
    h2_output_goaway(&frames->shared.output, frames->handled_id, error, text);
    frames->is_closing = true;
}
