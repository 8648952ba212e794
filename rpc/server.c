#include "rpc/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"

struct conn {
    LIST_ENTRY(conn) entry;
    struct server *server;
    int fd;
    uint32_t watched; /* EPOLL* */
    bool is_lost;     /* the peer is gone, or can't be written to */
    struct h2_conn *h2;
    struct dispatch_conn dispatch;
    sd_event_source *io, *flush;
};

struct server {
    sd_event *event;
    const struct dispatch *dispatch;
    int listen_fd;
    sd_event_source *accept, *accept_retry;
    LIST_HEAD(, conn) conns;
    size_t n_conns;
    void (*on_idle)(void *data);
    void *idle_data;
    /* The end. */
    sd_event_source *ending, *ending_timer;
    void (*shutdown_done)(void *data);
    void *shutdown_data;
};

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
    struct conn *conn = data;

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
    struct conn *conn = data;

    int r = sd_event_source_set_enabled(conn->flush, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static void on_stream_error(uint32_t stream_id, enum h2_error error, const char *text, void *data)
{
    (void)data;
    log_warn("RPC stream %" PRIu32 ": %s: %s", stream_id, h2_error_name(error), text);
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

/* --- one connection -------------------------------------------------------------------------- */

static void listen_again(struct server *server)
{
    if (server->accept == NULL || server->n_conns >= SERVER_CONNS_MAX)
        return;
    int r = sd_event_source_set_enabled(server->accept, SD_EVENT_ON);
    assert(r >= 0);
}

static void conn_free(struct conn *conn)
{
    struct server *server = conn->server;

    conn->h2 = h2_conn_free(conn->h2);
    conn->io = sd_event_source_disable_unref(conn->io);
    conn->flush = sd_event_source_disable_unref(conn->flush);
    conn->fd = close_fd(conn->fd);
    LIST_REMOVE(conn, entry);
    server->n_conns--;
    free(conn);
}

static void read_some(struct conn *conn)
{
    struct evbuffer *input = h2_conn_input(conn->h2);
    struct evbuffer_iovec space;

    if (evbuffer_reserve_space(input, SERVER_READ_BYTES_MAX, &space, 1) != 1)
        abort(); /* out of memory */
    ssize_t n = recv(conn->fd, space.iov_base, SERVER_READ_BYTES_MAX, 0);
    if (n > 0) {
        space.iov_len = (size_t)n;
        int r = evbuffer_commit_space(input, &space, 1);
        assert(r == 0);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn->is_lost = true;
    }
}

/* True: all is sent. */
static bool write_some(struct conn *conn)
{
    struct evbuffer *output = h2_conn_output(conn->h2);

    if (evbuffer_get_length(output) == 0)
        return true;
    if (evbuffer_write(output, conn->fd) < 0 && errno != EAGAIN && errno != EINTR)
        conn->is_lost = true;
    return evbuffer_get_length(output) == 0;
}

/* Handles what has been read and sends the answers, until one of them is at its end: input that is
 * not a whole frame, or a peer that does not read. */
static void work(struct conn *conn)
{
    struct evbuffer *input = h2_conn_input(conn->h2), *output = h2_conn_output(conn->h2);
    size_t n_before, n_sent;

    do {
        n_before = evbuffer_get_length(input);
        h2_conn_process(conn->h2, now_usec(conn->server->event));
        h2_conn_flush(conn->h2);
        n_sent = evbuffer_get_length(output);
        if (!write_some(conn))
            break;
    } while (n_sent > 0 || (n_before > 0 && evbuffer_get_length(input) < n_before));
}

static void watch(struct conn *conn)
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

static void say_why_it_ended(const struct conn *conn)
{
    enum h2_error error;
    const char *text = h2_conn_failure(conn->h2, &error);

    if (text != NULL)
        log_warn("closing an RPC connection: %s: %s", h2_error_name(error), text);
    else
        log_debug("an RPC connection is closed");
}

static void close_if_over(struct conn *conn)
{
    struct server *server = conn->server;
    bool is_over = conn->is_lost || (h2_conn_is_done(conn->h2) &&
                                     evbuffer_get_length(h2_conn_output(conn->h2)) == 0);

    if (!is_over) {
        watch(conn);
        return;
    }
    say_why_it_ended(conn);
    conn_free(conn);
    listen_again(server);
    if (server->n_conns == 0 && server->on_idle != NULL)
        server->on_idle(server->idle_data);
}

static void check_ending(struct server *server);

static int on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct conn *conn = data;
    struct server *server = conn->server;

    (void)source;
    (void)fd;
    /* A peer that hung up may have said something before: read that first. */
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(conn);
    if (!conn->is_lost)
        work(conn);
    close_if_over(conn);
    check_ending(server);
    return 0;
}

static int on_flush(sd_event_source *source, void *data)
{
    struct conn *conn = data;
    struct server *server = conn->server;

    (void)source;
    work(conn);
    close_if_over(conn);
    check_ending(server);
    return 0;
}

static void add_conn(struct server *server, int fd)
{
    struct conn *conn = ALLOC_NEW(struct conn);

    conn->server = server;
    conn->fd = fd;
    conn->watched = EPOLLIN | EPOLLOUT; /* our SETTINGS are in the output */
    conn->dispatch = (struct dispatch_conn){ .dispatch = server->dispatch, .event = server->event };
    conn->h2 = h2_conn_new(&h2_events, conn, now_usec(server->event));
    LIST_INSERT_HEAD(&server->conns, conn, entry);
    server->n_conns++;
    int r = sd_event_add_defer(server->event, &conn->flush, on_flush, conn);
    if (r >= 0)
        r = sd_event_source_set_enabled(conn->flush, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(server->event, &conn->io, fd, conn->watched, on_io, conn);
    if (r < 0) {
        log_error("cannot serve an RPC connection: %s", strerror(-r));
        conn_free(conn);
        return;
    }
    (void)sd_event_source_set_description(conn->io, "rpc-connection");
    (void)sd_event_source_set_description(conn->flush, "rpc-flush");
}

/* --- accepting ------------------------------------------------------------------------------- */

static void stop_listening(struct server *server)
{
    int r = sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);
    assert(r >= 0);
}

static int on_accept_retry(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    listen_again(data);
    return 0;
}

static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED;
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct server *server = data;

    (void)source;
    (void)events;
    int conn_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn_fd >= 0) {
        add_conn(server, conn_fd);
        if (server->n_conns >= SERVER_CONNS_MAX)
            stop_listening(server);
    } else if (!is_passing(errno)) {
        log_error("cannot accept an RPC connection: %s, trying again", strerror(errno));
        stop_listening(server);
        int r = sd_event_source_set_time_relative(server->accept_retry, SERVER_ACCEPT_RETRY_USEC);
        assert(r >= 0);
        r = sd_event_source_set_enabled(server->accept_retry, SD_EVENT_ONESHOT);
        assert(r >= 0);
    }
    return 0;
}

void server_on_idle(struct server *server, void (*on_idle)(void *data), void *data)
{
    server->on_idle = on_idle;
    server->idle_data = data;
}

size_t server_n_conns(const struct server *server)
{
    return server->n_conns;
}

/* --- the end --------------------------------------------------------------------------------- */

static void end(struct server *server)
{
    void (*done)(void *data) = TAKE_PTR(server->shutdown_done);

    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    done(server->shutdown_data);
}

static bool has_said_all(const struct conn *conn)
{
    return evbuffer_get_length(h2_conn_output(conn->h2)) == 0 &&
           h2_conn_queued_bytes(conn->h2) == 0;
}

/* Once all has been said, nobody needs to be waited for. */
static void check_ending(struct server *server)
{
    const struct conn *conn;

    if (server->ending_timer == NULL || server->shutdown_done == NULL)
        return;
    LIST_FOREACH(conn, &server->conns, entry)
        if (!has_said_all(conn))
            return;
    end(server);
}

static int on_ending_timer(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    end(data);
    return 0;
}

static int on_ending(sd_event_source *source, void *data)
{
    struct server *server = data;
    struct conn *conn, *next;

    (void)source;
    int r = sd_event_add_time_relative(server->event, &server->ending_timer, CLOCK_MONOTONIC,
                                       SERVER_SHUTDOWN_USEC, 0, on_ending_timer, server);
    assert(r >= 0);
    (void)sd_event_source_set_description(server->ending_timer, "rpc-ending-timer");
    for (conn = LIST_FIRST(&server->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, entry);
        h2_conn_shutdown(conn->h2);
        work(conn);
        close_if_over(conn);
    }
    check_ending(server);
    return 0;
}

void server_shutdown(struct server *server, void (*done)(void *data), void *data)
{
    if (server->ending != NULL)
        return;
    server->accept = sd_event_source_disable_unref(server->accept);
    server->shutdown_done = done;
    server->shutdown_data = data;
    int r = sd_event_add_defer(server->event, &server->ending, on_ending, server);
    assert(r >= 0);
    (void)sd_event_source_set_description(server->ending, "rpc-ending");
}

/* --- life ------------------------------------------------------------------------------------ */

static int add_sources(struct server *server)
{
    int r = sd_event_add_io(server->event, &server->accept, server->listen_fd, EPOLLIN, on_accept,
                            server);
    if (r < 0)
        return r;
    (void)sd_event_source_set_description(server->accept, "rpc-accept");
    r = sd_event_add_time(server->event, &server->accept_retry, CLOCK_MONOTONIC, 0, 0,
                          on_accept_retry, server);
    if (r < 0)
        return r;
    (void)sd_event_source_set_description(server->accept_retry, "rpc-accept-retry");
    return sd_event_source_set_enabled(server->accept_retry, SD_EVENT_OFF);
}

int server_new(sd_event *event, struct dispatch *dispatch, int listen_fd, struct server **ret)
{
    struct server *server = ALLOC_NEW(struct server);

    server->event = sd_event_ref(event);
    server->dispatch = dispatch;
    server->listen_fd = listen_fd;
    LIST_INIT(&server->conns);
    int r = add_sources(server);
    if (r < 0) {
        server_free(server);
        return r;
    }
    *ret = server;
    return 0;
}

struct server *server_free(struct server *server)
{
    if (server == NULL)
        return NULL;
    while (!LIST_EMPTY(&server->conns))
        conn_free(LIST_FIRST(&server->conns));
    server->accept = sd_event_source_disable_unref(server->accept);
    server->accept_retry = sd_event_source_disable_unref(server->accept_retry);
    server->ending = sd_event_source_disable_unref(server->ending);
    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    server->listen_fd = close_fd(server->listen_fd);
    sd_event_unref(server->event);
    free(server);
    return NULL;
}
