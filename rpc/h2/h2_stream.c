#include "rpc/h2/h2_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_limits.h"
#include "rpc/h2/h2_stream_private.h"

static const bool legal_states[H2_STREAM_STATE_MAX][H2_STREAM_STATE_MAX] = {
    [H2_STREAM_OPEN] = { [H2_STREAM_HALF_CLOSED] = true, [H2_STREAM_ENDED] = true },
    [H2_STREAM_HALF_CLOSED] = { [H2_STREAM_ENDED] = true },
};

/* --- waiting for the peer's windows ---------------------------------------------------------- */

size_t h2_stream_queued_bytes(const struct h2_stream *stream)
{
    return stream->queue ? evbuffer_get_length(stream->queue) : 0;
}

static void stop_waiting(struct h2_stream *stream)
{
    if (!stream->waiting)
        return;
    TAILQ_REMOVE(&stream->shared->waiting, stream, link);
    stream->waiting = false;
}

/* If it could send. */
static void start_waiting(struct h2_stream *stream)
{
    if (stream->waiting || stream->state == H2_STREAM_ENDED)
        return;
    if (h2_stream_queued_bytes(stream) == 0 || stream->send_window <= 0)
        return;
    TAILQ_INSERT_TAIL(&stream->shared->waiting, stream, link);
    stream->waiting = true;
}

static void drop_queue(struct h2_stream *stream)
{
    if (!stream->queue)
        return;
    stream->shared->queued_bytes -= evbuffer_get_length(stream->queue);
    evbuffer_free(stream->queue);
    stream->queue = NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

static void set_state(struct h2_stream *stream, enum h2_stream_state state)
{
    assert(legal_states[stream->state][state]);
    stream->state = state;
    if (state != H2_STREAM_ENDED)
        return;
    stop_waiting(stream);
    drop_queue(stream);
    h2_streams_remove(&stream->shared->streams, stream->id);
    TAILQ_INSERT_TAIL(&stream->shared->ended, stream, link);
}

struct h2_stream *h2_stream_new(struct h2_shared *shared, uint32_t id, int64_t content_length)
{
    struct h2_stream *stream = ALLOC_NEW(struct h2_stream);
    stream->shared = shared;
    stream->id = id;
    stream->send_window = shared->initial_window;
    stream->receive_window = H2_STREAM_WINDOW;
    stream->body_left = content_length;
    h2_streams_add(&shared->streams, id, stream);
    return stream;
}

void h2_stream_half_close(struct h2_stream *stream)
{
    set_state(stream, H2_STREAM_HALF_CLOSED);
}

void h2_stream_abandon(struct h2_stream *stream, enum h2_error error)
{
    const struct h2_shared *shared = stream->shared;
    bool told = stream->told;
    stream->told = true;
    set_state(stream, H2_STREAM_ENDED);
    if (!told)
        shared->events->on_reset(stream, error, shared->data);
}

void h2_stream_abandon_all(struct h2_shared *shared, enum h2_error error)
{
    while (shared->streams.n > 0)
        h2_stream_abandon(shared->streams.entries[shared->streams.n - 1].stream, error);
}

static void stream_free(struct h2_stream *stream)
{
    assert(!stream->queue);
    free(stream->trailers);
    free(stream);
}

void h2_stream_reap(struct h2_shared *shared)
{
    while (!TAILQ_EMPTY(&shared->ended)) {
        struct h2_stream *stream = TAILQ_FIRST(&shared->ended);
        TAILQ_REMOVE(&shared->ended, stream, link);
        stream_free(stream);
    }
}

void h2_stream_shared_init(struct h2_shared *shared, const struct h2_conn_events *events,
                           void *data, uint64_t now_usec)
{
    *shared = (struct h2_shared){
        .events = events,
        .data = data,
        .initial_window = H2_WINDOW_DEFAULT,
    };
    h2_output_init(&shared->output, events->on_output, data);
    TAILQ_INIT(&shared->waiting);
    TAILQ_INIT(&shared->ended);
    h2_bucket_init(&shared->idle_frames, H2_IDLE_FRAMES_BURST, H2_IDLE_FRAMES_PER_SECOND, now_usec);
}

void h2_stream_shared_done(struct h2_shared *shared)
{
    h2_output_hold(&shared->output); /* there is nobody to flush for */
    h2_stream_abandon_all(shared, H2_CANCEL);
    h2_stream_reap(shared);
    h2_output_done(&shared->output);
    h2_streams_done(&shared->streams);
}

/* --- sending --------------------------------------------------------------------------------- */

/* How many of `n` bytes may go out in the next frame. */
static size_t allowed(const struct h2_stream *stream, size_t n)
{
    if (stream->send_window <= 0)
        return 0;
    n = h2_output_allowed(&stream->shared->output, n);
    return (int64_t)n > stream->send_window ? (size_t)stream->send_window : n;
}

static void account_sent(struct h2_stream *stream, size_t n)
{
    stream->send_window -= (int64_t)n;
    /* what the peer answers it with: an update of the stream's window and one of the
     * connection's */
    h2_bucket_give(&stream->shared->idle_frames, 2);
}

static void end(struct h2_stream *stream, const uint8_t *trailers, size_t n)
{
    struct h2_output *output = &stream->shared->output;
    h2_output_frame(output, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, stream->id,
                    trailers, n);
    if (stream->state == H2_STREAM_OPEN)
        h2_output_rst_stream(output, stream->id, H2_NO_ERROR);
    set_state(stream, H2_STREAM_ENDED);
}

/* One frame of its queue, and its trailers after the last. */
static void pump(struct h2_stream *stream)
{
    struct h2_shared *shared = stream->shared;
    size_t n = allowed(stream, h2_stream_queued_bytes(stream));
    assert(n > 0);
    h2_output_queue(&shared->output, stream->id, stream->queue, n);
    shared->queued_bytes -= n;
    account_sent(stream, n);

    /* to the tail: streams take turns, a frame each */
    stop_waiting(stream);
    start_waiting(stream);
    if (h2_stream_queued_bytes(stream) > 0)
        return;
    drop_queue(stream);
    if (stream->trailers)
        end(stream, stream->trailers, stream->n_trailers);
    else if (!stream->told)
        shared->events->on_drain(stream, shared->data);
}

void h2_stream_pump(struct h2_shared *shared)
{
    while (!TAILQ_EMPTY(&shared->waiting) && h2_output_allowed(&shared->output, 1) > 0)
        pump(TAILQ_FIRST(&shared->waiting));
}

enum h2_error h2_stream_grow_window(struct h2_stream *stream, uint32_t increment)
{
    if (stream->send_window + increment > H2_WINDOW_MAX)
        return H2_FLOW_CONTROL_ERROR;
    stream->send_window += increment;
    start_waiting(stream);
    return H2_NO_ERROR;
}

/* Moves the windows of all streams, which may make them negative (section 6.9.2). */
enum h2_error h2_stream_set_initial_window(struct h2_shared *shared, uint32_t window)
{
    int64_t change = (int64_t)window - shared->initial_window;
    shared->initial_window = window;
    for (size_t i = 0; change != 0 && i < shared->streams.n; i++) {
        struct h2_stream *stream = shared->streams.entries[i].stream;
        if (stream->send_window + change > H2_WINDOW_MAX)
            return H2_FLOW_CONTROL_ERROR;
        stream->send_window += change;
        if (stream->send_window <= 0)
            stop_waiting(stream);
        start_waiting(stream);
    }
    return H2_NO_ERROR;
}

/* --- receiving ------------------------------------------------------------------------------- */

bool h2_stream_take_window(struct h2_stream *stream, size_t n)
{
    if ((int64_t)n > stream->receive_window)
        return false;
    stream->receive_window -= (int64_t)n;
    return true;
}

bool h2_stream_take_body(struct h2_stream *stream, size_t n)
{
    if (stream->body_left < 0)
        return true;
    if ((int64_t)n > stream->body_left)
        return false;
    stream->body_left -= (int64_t)n;
    return true;
}

/* --- the user's side ------------------------------------------------------------------------- */

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
    h2_output_frame(&stream->shared->output, H2_HEADERS, H2_FLAG_END_HEADERS, stream->id, block, n);
}

static void queue_data(struct h2_stream *stream, const uint8_t *bytes, size_t n)
{
    if (!stream->queue)
        stream->queue = evbuffer_new();
    assert(stream->queue);
    evbuffer_add(stream->queue, bytes, n);
    stream->shared->queued_bytes += n;
    start_waiting(stream);
}

int h2_stream_send_data(struct h2_stream *stream, const uint8_t *bytes, size_t n)
{
    assert(!stream->told);
    struct h2_shared *shared = stream->shared;
    if (n > H2_QUEUED_MAX - shared->queued_bytes)
        return -ENOBUFS;
    while (n > 0 && !stream->queue) {
        size_t part = allowed(stream, n);
        if (part == 0)
            break;
        h2_output_data(&shared->output, stream->id, bytes, part);
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
    h2_output_rst_stream(&stream->shared->output, stream->id, error);
    set_state(stream, H2_STREAM_ENDED);
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
    h2_output_window_update(&stream->shared->output, stream->id, stream->consumed);
    stream->receive_window += stream->consumed;
    stream->consumed = 0;
}
