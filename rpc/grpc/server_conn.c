#include "rpc/grpc/server_conn.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/memory.h"

static uint64_t now_usec(sd_event *event)
{
    uint64_t usec;

    int r = sd_event_now(event, CLOCK_MONOTONIC, &usec);
    assert(r >= 0);
    return usec;
}

/* --- HTTP/2 events --------------------------------------------------------------------------- */

static void on_request(struct h2_stream *stream, const struct h2_headers *headers, void *data)
{
    struct server_conn *conn = data;

    dispatch_request(&conn->dispatch, stream, headers);
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
    (void)error;
    (void)data;
    dispatch_reset(stream);
}

static void on_drain(struct h2_stream *stream, void *data)
{
    (void)data;
    dispatch_drain(stream);
}

/* An answer that came from a task and not from a request: it is sent when all that this turn of the
 * loop brings has been queued. */
static void on_output(void *data)
{
    struct server_conn *conn = data;

    int r = sd_event_source_set_enabled(conn->flush, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static void on_stream_error(uint32_t stream_id, enum h2_error error, const char *text, void *data)
{
    struct server_conn *conn = data;

    conn->n_stream_errors++;
    if (conn->n_stream_errors > SERVER_CONN_STREAM_ERRORS_TOLD)
        return;
    log_warn("RPC stream %" PRIu32 ": %s: %s%s", stream_id, h2_error_name(error), text,
             conn->n_stream_errors == SERVER_CONN_STREAM_ERRORS_TOLD
                 ? "; no more of these are told for this connection"
                 : "");
}

static const struct h2_conn_events h2_events = {
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_reset = on_reset,
    .on_drain = on_drain,
    .on_output = on_output,
    .on_stream_error = on_stream_error,
};

/* --- life ------------------------------------------------------------------------------------ */

struct server_conn *server_conn_free(struct server_conn *conn)
{
    if (conn == NULL)
        return NULL;
    conn->h2 = h2_conn_free(conn->h2);
    conn->io = sd_event_source_disable_unref(conn->io);
    conn->flush = sd_event_source_disable_unref(conn->flush);
    conn->starting = sd_event_source_disable_unref(conn->starting);
    conn->fd = close_fd(conn->fd);
    free(conn);
    return NULL;
}

/* --- work ------------------------------------------------------------------------------------ */

static void read_some(struct server_conn *conn)
{
    struct evbuffer *input = h2_conn_input(conn->h2);
    struct evbuffer_iovec space;

    if (evbuffer_reserve_space(input, SERVER_CONN_READ_BYTES_MAX, &space, 1) != 1)
        abort(); /* out of memory */
    ssize_t n = recv(conn->fd, space.iov_base, SERVER_CONN_READ_BYTES_MAX, 0);
    if (n > 0) {
        space.iov_len = (size_t)n;
        int r = evbuffer_commit_space(input, &space, 1);
        assert(r == 0);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn->is_lost = true;
    }
}

/* True: all is sent. */
static bool write_some(struct server_conn *conn)
{
    struct evbuffer *output = h2_conn_output(conn->h2);

    if (evbuffer_get_length(output) == 0)
        return true;
    if (evbuffer_write(output, conn->fd) < 0 && errno != EAGAIN && errno != EINTR)
        conn->is_lost = true;
    return evbuffer_get_length(output) == 0;
}

size_t server_conn_held_bytes(const struct server_conn *conn)
{
    return conn->dispatch.budget.held_bytes + h2_conn_queued_bytes(conn->h2) +
           evbuffer_get_length(h2_conn_output(conn->h2));
}

/* A burst is many bytes at once, or many calls, whose memory is that of the handlers, too: of the
 * latter it is the end that counts. */
static void note_burst(struct server_conn *conn)
{
    size_t n = h2_conn_n_streams(conn->h2);

    if (n > conn->n_streams_peak)
        conn->n_streams_peak = n;
    bool is_over = n + MEMORY_BURST_CALLS <= conn->n_streams_peak;
    if (is_over)
        conn->n_streams_peak = n;
    if (is_over || server_conn_held_bytes(conn) > MEMORY_BURST_BYTES)
        conn->args.events->burst(conn->args.data);
}

/* Handles what has been read and sends the answers, until one of them is at its end: input that is
 * not a whole frame, or a peer that does not read. */
static void work(struct server_conn *conn)
{
    struct evbuffer *input = h2_conn_input(conn->h2), *output = h2_conn_output(conn->h2);
    size_t n_before, n_sent;

    do {
        n_before = evbuffer_get_length(input);
        h2_conn_process(conn->h2, now_usec(conn->args.event));
        h2_conn_flush(conn->h2);
        n_sent = evbuffer_get_length(output);
        note_burst(conn);
        if (!write_some(conn))
            break;
    } while (n_sent > 0 || (n_before > 0 && evbuffer_get_length(input) < n_before));
}

static void watch(struct server_conn *conn)
{
    uint32_t events = 0;

    if (h2_conn_wants_input(conn->h2))
        events |= EPOLLIN;
    if (evbuffer_get_length(h2_conn_output(conn->h2)) > 0)
        events |= EPOLLOUT;
    if (events == conn->watched)
        return;
    conn->watched = events;
    int r = sd_event_source_set_io_events(conn->io, events);
    assert(r >= 0);
}

static void say_why_it_ended(const struct server_conn *conn)
{
    enum h2_error error;
    const char *text = h2_conn_failure(conn->h2, &error);

    if (text != NULL)
        log_warn("closing an RPC connection: %s: %s", h2_error_name(error), text);
    else
        log_debug("an RPC connection is closed");
}

bool server_conn_is_idle(const struct server_conn *conn)
{
    return h2_conn_n_streams(conn->h2) == 0;
}

uint64_t server_conn_idle_since(const struct server_conn *conn)
{
    return conn->idle_since_usec;
}

bool server_conn_has_said_all(const struct server_conn *conn)
{
    return evbuffer_get_length(h2_conn_output(conn->h2)) == 0 &&
           h2_conn_queued_bytes(conn->h2) == 0;
}

/* Closes it when it is over, or watches for what it waits for. */
static void settle(struct server_conn *conn)
{
    bool is_over = conn->is_lost || (h2_conn_is_done(conn->h2) &&
                                     evbuffer_get_length(h2_conn_output(conn->h2)) == 0);

    if (is_over) {
        say_why_it_ended(conn);
        conn->args.events->ended(conn, conn->args.data);
        return;
    }
    if (h2_conn_is_open(conn->h2))
        conn->starting = sd_event_source_disable_unref(conn->starting);
    if (server_conn_is_idle(conn))
        conn->idle_since_usec = now_usec(conn->args.event);
    watch(conn);
}

void server_conn_shutdown(struct server_conn *conn)
{
    h2_conn_shutdown(conn->h2);
    work(conn);
    settle(conn);
}

void server_conn_dismiss(struct server_conn *conn)
{
    h2_conn_shutdown(conn->h2);
    work(conn);
    server_conn_free(conn);
}

/* The end of an event: the connection may be gone after it. */
static void end_event(struct server_conn *conn)
{
    const struct server_conn_args args = conn->args;

    if (!conn->is_lost)
        work(conn);
    settle(conn);
    args.events->worked(args.data);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct server_conn *conn = data;

    (void)source;
    (void)fd;
    /* A peer that hung up may have said something before: read that first. */
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(conn);
    end_event(conn);
    return 0;
}

static int on_flush(sd_event_source *source, void *data)
{
    (void)source;
    end_event(data);
    return 0;
}

static int on_starting(sd_event_source *source, uint64_t usec, void *data)
{
    struct server_conn *conn = data;

    (void)source;
    (void)usec;
    h2_conn_fail(conn->h2, H2_SETTINGS_TIMEOUT, "the peer has not begun to speak HTTP/2 in time");
    work(conn);
    conn->is_lost = true; /* nobody waits for one that does not read either */
    end_event(conn);
    return 0;
}

static int add_sources(struct server_conn *conn)
{
    sd_event *event = conn->args.event;
    int r = sd_event_add_defer(event, &conn->flush, on_flush, conn);

    if (r >= 0)
        r = sd_event_source_set_enabled(conn->flush, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(event, &conn->io, conn->fd, conn->watched, on_io, conn);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &conn->starting, CLOCK_MONOTONIC,
                                       conn->args.start_usec, 0, on_starting, conn);
    return r;
}

struct server_conn *server_conn_new(const struct server_conn_args *args, int fd)
{
    struct server_conn *conn = ALLOC_NEW(struct server_conn);

    conn->args = *args;
    conn->fd = fd;
    conn->watched = EPOLLIN | EPOLLOUT; /* our SETTINGS are in the output */
    conn->idle_since_usec = now_usec(args->event);
    conn->dispatch = (struct dispatch_conn){ .dispatch = args->dispatch, .event = args->event };
    conn->h2 = h2_conn_new(&h2_events, conn, now_usec(args->event));
    int r = add_sources(conn);
    if (r < 0) {
        log_error("cannot serve an RPC connection: %s", strerror(-r));
        return server_conn_free(conn);
    }
    (void)sd_event_source_set_description(conn->io, "rpc-connection");
    (void)sd_event_source_set_description(conn->flush, "rpc-flush");
    (void)sd_event_source_set_description(conn->starting, "rpc-starting");
    return conn;
}
