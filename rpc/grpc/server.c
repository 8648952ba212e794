#include "rpc/grpc/server.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/server_private.h"

/* --- accepting ------------------------------------------------------------------------------- */

/* The one that has had nothing to do for longest; NULL: all are busy. */
static struct server_conn *find_idle(const struct server *server)
{
    struct server_conn *conn, *found = NULL;

    LIST_FOREACH(conn, &server->conns, entry)
        if (server_conn_is_idle(conn) &&
            (found == NULL || conn->idle_since_usec < found->idle_since_usec))
            found = conn;
    return found;
}

static void stop_listening(struct server *server)
{
    int r = sd_event_source_set_enabled(server->accept, SD_EVENT_OFF);
    assert(r >= 0);
}

void server_has_room(struct server *server)
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
    server_has_room(data);
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
    server_conn_dismiss(conn);
    return true;
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
    if (!make_room(server))
        return 0;
    int conn_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn_fd >= 0) {
        server_conn_add(server, conn_fd);
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

/* The memory of a large message is taken from the heap and goes back there: taken from the system
 * anew each time, it costs more than all else (half the speed of a stream). */
void server_set_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TOP_PAD, 16 * 1024);
}

/* What a burst took stays with malloc otherwise, for good. */
static int on_trim(sd_event_source *source, uint64_t usec, void *data)
{
    struct server *server = data;
    const struct server_conn *conn;

    (void)source;
    (void)usec;
    server->trim = sd_event_source_disable_unref(server->trim);
    LIST_FOREACH(conn, &server->conns, entry) {
        if (server_conn_held_bytes(conn) > SERVER_BURST_BYTES) {
            server_note_burst(server);
            return 0;
        }
    }
    (void)malloc_trim(0);
    return 0;
}

void server_note_burst(struct server *server)
{
    if (server->trim != NULL)
        return;
    int r = sd_event_add_time_relative(server->event, &server->trim, CLOCK_MONOTONIC,
                                       SERVER_TRIM_USEC, 0, on_trim, server);
    assert(r >= 0);
    (void)sd_event_source_set_description(server->trim, "rpc-trim");
}

/* --- the end --------------------------------------------------------------------------------- */

static void end(struct server *server)
{
    void (*done)(void *data) = TAKE_PTR(server->shutdown_done);

    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    done(server->shutdown_data);
}

static bool has_said_all(const struct server_conn *conn)
{
    return evbuffer_get_length(h2_conn_output(conn->h2)) == 0 &&
           h2_conn_queued_bytes(conn->h2) == 0;
}

/* Once all has been said, nobody needs to be waited for. */
void server_check_ending(struct server *server)
{
    const struct server_conn *conn;

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
    struct server_conn *conn, *next;

    (void)source;
    int r = sd_event_add_time_relative(server->event, &server->ending_timer, CLOCK_MONOTONIC,
                                       SERVER_SHUTDOWN_USEC, 0, on_ending_timer, server);
    assert(r >= 0);
    (void)sd_event_source_set_description(server->ending_timer, "rpc-ending-timer");
    for (conn = LIST_FIRST(&server->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, entry);
        h2_conn_shutdown(conn->h2);
        server_conn_work(conn);
        server_conn_settle(conn);
    }
    server_check_ending(server);
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
        server_conn_free(LIST_FIRST(&server->conns));
    server->accept = sd_event_source_disable_unref(server->accept);
    server->accept_retry = sd_event_source_disable_unref(server->accept_retry);
    server->trim = sd_event_source_disable_unref(server->trim);
    server->ending = sd_event_source_disable_unref(server->ending);
    server->ending_timer = sd_event_source_disable_unref(server->ending_timer);
    server->listen_fd = close_fd(server->listen_fd);
    sd_event_unref(server->event);
    free(server);
    return NULL;
}
