#include "rpc/h2/h2_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_private.h"

static const bool legal_states[H2_STREAM_STATE_MAX][H2_STREAM_STATE_MAX] = {
    [H2_STREAM_OPEN] = { [H2_STREAM_HALF_CLOSED] = true, [H2_STREAM_ENDED] = true },
    [H2_STREAM_HALF_CLOSED] = { [H2_STREAM_ENDED] = true },
};

struct h2_stream *h2_stream_new(struct h2_conn *conn, uint32_t id)
{
    struct h2_stream *stream = ALLOC_NEW(struct h2_stream);
    stream->conn = conn;
    stream->id = id;
    stream->send_window = conn->peer_initial_window;
    stream->receive_window = H2_STREAM_WINDOW;
    stream->body_left = -1;
    return stream;
}

struct h2_stream *h2_stream_free(struct h2_stream *stream)
{
    if (!stream)
        return NULL;
    assert(!stream->queue);
    free(stream->trailers);
    free(stream);
    return NULL;
}

size_t h2_stream_queued_bytes(const struct h2_stream *stream)
{
    return stream->queue ? evbuffer_get_length(stream->queue) : 0;
}

static void stop_waiting(struct h2_stream *stream)
{
    if (!stream->waiting)
        return;
    TAILQ_REMOVE(&stream->conn->waiting, stream, link);
    stream->waiting = false;
}

void h2_stream_wait(struct h2_stream *stream)
{
    if (stream->waiting || stream->state == H2_STREAM_ENDED)
        return;
    if (h2_stream_queued_bytes(stream) == 0 || stream->send_window <= 0)
        return;
    TAILQ_INSERT_TAIL(&stream->conn->waiting, stream, link);
    stream->waiting = true;
}

static void drop_queue(struct h2_stream *stream)
{
    if (!stream->queue)
        return;
    stream->conn->queued_bytes -= evbuffer_get_length(stream->queue);
    evbuffer_free(stream->queue);
    stream->queue = NULL;
}

void h2_stream_set_state(struct h2_stream *stream, enum h2_stream_state state)
{
    assert(legal_states[stream->state][state]);
    stream->state = state;
    if (state != H2_STREAM_ENDED)
        return;
    stop_waiting(stream);
    drop_queue(stream);
    h2_streams_remove(stream->conn, stream);
}

/* How many of `n` bytes may go out in the next frame. */
static size_t allowed(const struct h2_stream *stream, size_t n)
{
    const struct h2_conn *conn = stream->conn;
    if (stream->send_window <= 0 || conn->send_window <= 0 || !h2_output_has_room(conn))
        return 0;
    if (n > H2_FRAME_PAYLOAD_MAX)
        n = H2_FRAME_PAYLOAD_MAX;
    if ((int64_t)n > stream->send_window)
        n = (size_t)stream->send_window;
    if ((int64_t)n > conn->send_window)
        n = (size_t)conn->send_window;
    return n;
}

static void account_sent(struct h2_stream *stream, size_t n)
{
    stream->send_window -= (int64_t)n;
    stream->conn->send_window -= (int64_t)n;
    /* what the peer answers it with: an update of the stream's window and one of the
     * connection's */
    h2_bucket_give(&stream->conn->idle_frames, 2);
}

static void end(struct h2_stream *stream, const uint8_t *trailers, size_t n)
{
    h2_output_frame(stream->conn, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, stream->id,
                    trailers, n);
    if (stream->state == H2_STREAM_OPEN)
        h2_output_rst_stream(stream->conn, stream->id, H2_NO_ERROR);
    h2_stream_set_state(stream, H2_STREAM_ENDED);
}

void h2_stream_pump(struct h2_stream *stream)
{
    struct h2_conn *conn = stream->conn;
    size_t n = allowed(stream, h2_stream_queued_bytes(stream));
    assert(n > 0);
    uint8_t header[H2_FRAME_HEADER_SIZE];
    h2_codec_encode_frame_header(header, n, H2_DATA, 0, stream->id);
    evbuffer_add(conn->output, header, sizeof(header));
    evbuffer_remove_buffer(stream->queue, conn->output, n);
    conn->queued_bytes -= n;
    account_sent(stream, n);

    /* to the tail: streams take turns, a frame each */
    stop_waiting(stream);
    h2_stream_wait(stream);
    if (h2_stream_queued_bytes(stream) > 0)
        return;
    drop_queue(stream);
    if (stream->trailers)
        end(stream, stream->trailers, stream->n_trailers);
    else if (!stream->told)
        conn->events->on_drain(stream, conn->data);
}

uint32_t h2_stream_id(const struct h2_stream *stream)
{
    return stream->id;
}

void h2_stream_set_data(struct h2_stream *stream, void *data)
{
    stream->data = data;
}

void *h2_stream_data(const struct h2_stream *stream)
{
    return stream->data;
}

void h2_stream_send_headers(struct h2_stream *stream, const uint8_t *block, size_t n)
{
    assert(!stream->told);
    h2_output_frame(stream->conn, H2_HEADERS, H2_FLAG_END_HEADERS, stream->id, block, n);
}

static void queue_data(struct h2_stream *stream, const uint8_t *bytes, size_t n)
{
    if (!stream->queue)
        stream->queue = evbuffer_new();
    assert(stream->queue);
    evbuffer_add(stream->queue, bytes, n);
    stream->conn->queued_bytes += n;
    h2_stream_wait(stream);
}

int h2_stream_send_data(struct h2_stream *stream, const uint8_t *bytes, size_t n)
{
    assert(!stream->told);
    struct h2_conn *conn = stream->conn;
    if (n > H2_QUEUED_MAX - conn->queued_bytes)
        return -ENOBUFS;
    while (n > 0 && !stream->queue) {
        size_t part = allowed(stream, n);
        if (part == 0)
            break;
        h2_output_frame(conn, H2_DATA, 0, stream->id, bytes, part);
        account_sent(stream, part);
        bytes += part;
        n -= part;
    }
    if (n > 0)
        queue_data(stream, bytes, n);
    return 0;
}

void h2_stream_send_trailers(struct h2_stream *stream, const uint8_t *block, size_t n)
{
    assert(!stream->told);
    stream->told = true;
    if (!stream->queue) {
        end(stream, block, n);
        return;
    }
    stream->trailers = alloc_memdup(block, n);
    stream->n_trailers = n;
}

void h2_stream_reset(struct h2_stream *stream, enum h2_error error)
{
    assert(!stream->told);
    stream->told = true;
    h2_output_rst_stream(stream->conn, stream->id, error);
    h2_stream_set_state(stream, H2_STREAM_ENDED);
}

void h2_stream_abandon(struct h2_stream *stream, enum h2_error error)
{
    struct h2_conn *conn = stream->conn;
    bool told = stream->told;
    stream->told = true;
    h2_stream_set_state(stream, H2_STREAM_ENDED);
    if (!told)
        conn->events->on_reset(stream, error, conn->data);
}

void h2_stream_consume(struct h2_stream *stream, size_t n)
{
    /* more than was received is a mistake of ours */
    assert(n <= (size_t)(H2_STREAM_WINDOW - stream->receive_window) - stream->consumed);
    stream->consumed += (uint32_t)n;
    /* Given back by halves, so that small frames do not cost an update each. After the peer's last
     * byte there is nobody to give to. */
    if (stream->state != H2_STREAM_OPEN || stream->consumed < H2_STREAM_WINDOW / 2)
        return;
    h2_output_window_update(stream->conn, stream->id, stream->consumed);
    stream->receive_window += stream->consumed;
    stream->consumed = 0;
}
