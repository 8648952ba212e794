#include "tests/fuzz/session.h"

#include <event2/buffer.h>

#include "reactor/log.h"
#include "rpc/grpc/grpc_block.h"
#include "rpc/grpc/grpc_message.h"
#include "rpc/grpc/server_conn.h"

/* What one frame of the peer may add to the output beyond its mark: a frame of DATA, and the
 * headers and trailers around it. */
#define ANSWER_MAX (H2_FRAME_PAYLOAD_MAX + 2 * GRPC_BLOCK_MAX + 1024)

/* --- events, as server has them -------------------------------------------------------------- */

static void on_request(struct h2_stream *stream, const struct h2_headers *headers, void *data)
{
    struct session *session = data;

    peer_sees_stream(&session->peer, h2_stream_id(stream));
    dispatch_request(&session->conn, stream, headers);
}

static void on_data(struct h2_stream *stream, const uint8_t *bytes, size_t n, void *data)
{
    (void)data;
    dispatch_data(stream, bytes, n);
}

static void on_end(struct h2_stream *stream, void *data)
{
    (void)data;
    dispatch_end(stream);
}

static void on_reset(struct h2_stream *stream, enum h2_error error, void *data)
{
    (void)data;
    MUST(error < H2_ERROR_MAX);
    dispatch_reset(stream);
}

static void on_drain(struct h2_stream *stream, void *data)
{
    (void)data;
    dispatch_drain(stream);
}

static void on_output(void *data)
{
    (void)data;
}

static void on_stream_error(uint32_t stream_id, enum h2_error error, const char *text, void *data)
{
    (void)data;
    MUST(stream_id > 0 && error < H2_ERROR_MAX && text != NULL);
}

static const struct h2_conn_events events = {
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_reset = on_reset,
    .on_drain = on_drain,
    .on_output = on_output,
    .on_stream_error = on_stream_error,
};

/* --- the loop -------------------------------------------------------------------------------- */

/* Making a loop costs more than a run. */
static sd_event *shared_event(void)
{
    static sd_event *event;

    if (event == NULL) {
        log_set_level(LOG_LEVEL_MAX);
        MUST(sd_event_new(&event) >= 0);
        grpc_status_set_recoverable_detail("type.test/detail", "\x08\x01", 2);
    }
    return event;
}

/* --- invariants ------------------------------------------------------------------------------ */

static void check(const struct session *session)
{
    size_t n_streams = h2_conn_n_streams(session->h2);
    size_t n_held = session->conn.budget.held_bytes;

    MUST(n_streams <= H2_STREAMS_MAX);
    MUST(h2_conn_queued_bytes(session->h2) <= H2_QUEUED_MAX);
    /* A request that is refused by a text has more bytes than a sixteenth of that. */
    MUST(h2_conn_queued_bytes(session->h2) <= session->handlers.n_answered + 16 * session->n_put);
    /* A read more, and the frame before it that is not whole yet. */
    MUST(evbuffer_get_length(h2_conn_input(session->h2)) <=
         SERVER_CONN_READ_BYTES_MAX + H2_FRAME_HEADER_SIZE + H2_FRAME_PAYLOAD_MAX);
    /* A peer pays for what it makes us hold. */
    MUST(n_held <= CALL_HELD_MAX);
    MUST(n_held <=
         (n_streams + 1) * GRPC_MESSAGE_HEAP_BASE + session->n_put * GRPC_MESSAGE_HEAP_MULTIPLE);
}

/* --- a turn of the server -------------------------------------------------------------------- */

static void receive(struct session *session)
{
    if (h2_conn_wants_input(session->h2))
        (void)evbuffer_remove_buffer(session->socket, h2_conn_input(session->h2),
                                     SERVER_CONN_READ_BYTES_MAX);
}

static void process(struct session *session)
{
    size_t n_before = evbuffer_get_length(h2_conn_output(session->h2));

    h2_conn_process(session->h2, session->now_usec);
    h2_conn_flush(session->h2);
    size_t n_after = evbuffer_get_length(h2_conn_output(session->h2));
    MUST(n_after <= (n_before > H2_OUTPUT_MAX ? n_before : H2_OUTPUT_MAX) + ANSWER_MAX);
}

static size_t send_some(struct session *session)
{
    struct evbuffer *output = h2_conn_output(session->h2);
    size_t n = evbuffer_get_length(output);

    if (n > session->room)
        n = session->room;
    if (session->room != SIZE_MAX)
        session->room -= n;
    if (n > 0)
        peer_read(&session->peer, output, n);
    return n;
}

static bool is_over(const struct session *session)
{
    return session->is_lost ||
           (h2_conn_is_done(session->h2) && evbuffer_get_length(h2_conn_output(session->h2)) == 0);
}

static bool is_settled(const struct session *session)
{
    return evbuffer_get_length(session->socket) == 0 &&
           evbuffer_get_length(h2_conn_input(session->h2)) == 0 &&
           evbuffer_get_length(h2_conn_output(session->h2)) == 0;
}

void session_work(struct session *session)
{
    size_t n_before, n_sent;

    while (!is_over(session)) {
        n_before = evbuffer_get_length(session->socket);
        receive(session);
        process(session);
        check(session);
        n_sent = send_some(session);
        if (n_sent == 0 && evbuffer_get_length(session->socket) == n_before)
            break;
    }
    session->is_lost = is_over(session);
    if (is_settled(session))
        peer_is_understood(&session->peer);
}

void session_put(struct session *session, const void *bytes, size_t n)
{
    if (session->is_lost || n == 0)
        return;
    peer_say(&session->peer, bytes, n);
    session->n_put += n;
    MUST(evbuffer_add(session->socket, bytes, n) == 0);
}

void session_pass(struct session *session, uint64_t usec)
{
    session->now_usec += usec;
    MUST(sd_event_run(session->event, 0) >= 0);
}

/* --- life ------------------------------------------------------------------------------------ */

void session_init(struct session *session, size_t fill_max)
{
    *session = (struct session){ .socket = evbuffer_new(), .room = SIZE_MAX };
    MUST(session->socket != NULL);
    handlers_init(&session->handlers, fill_max);
    session->event = shared_event();
    session->dispatch = dispatch_new();
    dispatch_add(session->dispatch, handlers_methods, &session->handlers);
    session->conn = (struct dispatch_conn){ session->dispatch, session->event, {} };
    session->h2 = h2_conn_new(&events, session, session->now_usec);
    peer_init(&session->peer);
}

void session_done(struct session *session)
{
    session->h2 = h2_conn_free(session->h2);
    MUST(session->conn.budget.held_bytes == 0);
    /* A handler that has sent too much is told by the loop. */
    while (sd_event_run(session->event, 0) > 0)
        ;
    handlers_done(&session->handlers);
    evbuffer_free(session->socket);
    session->dispatch = dispatch_free(session->dispatch);
}
