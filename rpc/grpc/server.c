#include "rpc/grpc/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/memory.h"
#include "rpc/grpc/server_conn.h"

struct server {
    sd_event *event;
    const struct dispatch *dispatch;
    int listen_fd;
    uint64_t start_usec;
    sd_event_source *accept, *accept_retry;
    struct memory *memory;
    LIST_HEAD(, server_conn) conns;
    size_t n_conns;
    bool is_full; /* and all are busy: not listening */
    void (*on_idle)(void *data);
    void *idle_data;
    /* The end. */
    sd_event_source *ending, *ending_timer;
    void (*shutdown_done)(void *data);
    void *shutdown_data;
};

/* --- connections ----------------------------------------------------------------------------- */

static void remove_conn(struct server *server, struct server_conn *conn)
{
    LIST_REMOVE(conn, entry);
    server->n_conns--;
}

static void drop_conn(struct server *server, struct server_conn *conn)
{
    remove_conn(server, conn);
    server_conn_free(conn);
}

/* The one that has had nothing to do for longest; NULL: all are busy. */
static struct server_conn *find_idle(const struct server *server)
{
    struct server_conn *conn, *found = NULL;

    LIST_FOREACH(conn, &server->conns, entry)
        if (server_conn_is_idle(conn) &&
            (found == NULL || server_conn_idle_since(conn) < server_conn_idle_since(found)))
            found = conn;
    return found;
}

static void stop_listening(struct server *server)
{
    int r = sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);
    assert(r >= 0);
}

static void listen_again(struct server *server)
{
    server->is_full = false;
    if (server->accept == NULL)
        return;
    int r = sd_event_source_set_enabled(server->accept, SD_EVENT_ON);
    assert(r >= 0);
}

static int on_accept_retry(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    listen_again(data);
    return 0;
}

/* False: a new connection has to wait until one has gone, or has nothing to do. */
static bool make_room(struct server *server)
{
    if (server->n_conns < SERVER_CONNS_MAX)
        return true;
    struct server_conn *conn = find_idle(server);
    if (conn == NULL) {
        log_warn("%d RPC connections are open and busy, further ones have to wait",
                 SERVER_CONNS_MAX);
        server->is_full = true;
        stop_listening(server);
        return false;
    }
    log_warn("%d RPC connections are open, closing the one that is idle for longest",
             SERVER_CONNS_MAX);
    remove_conn(server, conn);
    server_conn_dismiss(conn);
    return true;
}

/* --- what connections say -------------------------------------------------------------------- */

static void end(struct server *server)
{
    void (*done)(void *data) = TAKE_PTR(server->shutdown_done);

    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    done(server->shutdown_data);
}

/* Once all has been said, nobody needs to be waited for. */
static void check_ending(struct server *server)
{
    const struct server_conn *conn;

    if (server->ending_timer == NULL || server->shutdown_done == NULL)
        return;
    LIST_FOREACH(conn, &server->conns, entry)
        if (!server_conn_has_said_all(conn))
            return;
    end(server);
}

static void on_burst(void *data)
{
    const struct server *server = data;

    memory_note_burst(server->memory);
}

static void on_ended(struct server_conn *conn, void *data)
{
    struct server *server = data;

    drop_conn(server, conn);
    listen_again(server);
    if (server->n_conns == 0 && server->on_idle != NULL)
        server->on_idle(server->idle_data);
}

static void on_worked(void *data)
{
    struct server *server = data;

    if (server->is_full && find_idle(server) != NULL)
        listen_again(server);
    check_ending(server);
}

static const struct server_conn_events conn_events = {
    .burst = on_burst,
    .ended = on_ended,
    .worked = on_worked,
};

static void add_conn(struct server *server, int fd)
{
    const struct server_conn_args args = {
        .event = server->event,
        .dispatch = server->dispatch,
        .start_usec = server->start_usec,
        .events = &conn_events,
        .data = server,
    };
    struct server_conn *conn = server_conn_new(&args, fd);

    if (conn == NULL)
        return;
    LIST_INSERT_HEAD(&server->conns, conn, entry);
    server->n_conns++;
}

/* --- accepting ------------------------------------------------------------------------------- */

static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED;
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct server *server = data;

    (void)source;
    (void)events;
    if (!make_room(server))
        return 0;
    int conn_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn_fd >= 0) {
        add_conn(server, conn_fd);
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

/* --- memory ---------------------------------------------------------------------------------- */

static bool is_held(void *data)
{
    const struct server *server = data;
    const struct server_conn *conn;

    LIST_FOREACH(conn, &server->conns, entry)
        if (server_conn_held_bytes(conn) > MEMORY_BURST_BYTES)
            return true;
    return false;
}

/* --- the end --------------------------------------------------------------------------------- */

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
    struct server_conn *conn, *next;

    (void)source;
    int r = sd_event_add_time_relative(server->event, &server->ending_timer, CLOCK_MONOTONIC,
                                       SERVER_SHUTDOWN_USEC, 0, on_ending_timer, server);
    assert(r >= 0);
    (void)sd_event_source_set_description(server->ending_timer, "rpc-ending-timer");
    for (conn = LIST_FIRST(&server->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, entry);
        server_conn_shutdown(conn); /* which may end it */
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

void server_set_start_usec(struct server *server, uint64_t usec)
{
    server->start_usec = usec;
}

int server_new(sd_event *event, struct dispatch *dispatch, int listen_fd, struct server **ret)
{
    struct server *server = ALLOC_NEW(struct server);

    server->event = sd_event_ref(event);
    server->dispatch = dispatch;
    server->listen_fd = listen_fd;
    server_set_start_usec(server, SERVER_START_USEC);
    LIST_INIT(&server->conns);
    server->memory = memory_new(event, MEMORY_TRIM_USEC, is_held, server);
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
        drop_conn(server, LIST_FIRST(&server->conns));
    server->accept = sd_event_source_disable_unref(server->accept);
    server->accept_retry = sd_event_source_disable_unref(server->accept_retry);
    server->ending = sd_event_source_disable_unref(server->ending);
    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    server->memory = memory_free(server->memory);
    server->listen_fd = close_fd(server->listen_fd);
    sd_event_unref(server->event);
    free(server);
    return NULL;
}
