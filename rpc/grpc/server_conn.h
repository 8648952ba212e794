/* One connection: bytes between its socket and its h2_conn. Owner: the server, which it tells by
 * three callbacks, all from the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "rpc/grpc/dispatch.h"
#include "rpc/h2/h2_conn.h"

/* Errors of streams that are logged for one connection: a peer could make thousands a second. */
#define SERVER_CONN_STREAM_ERRORS_TOLD 32
/* What one read takes, so that a large request does not keep the loop from other connections. With
 * the header that evbuffer adds it is a power of two, to which evbuffer rounds up. */
#define SERVER_CONN_READ_BYTES_MAX (64 * 1024 - 64)

struct server_conn;

struct server_conn_events {
    /* It holds as much as in a burst, or one has ended. */
    void (*burst)(void *data);
    /* It is over, and to be freed, now or later. */
    void (*ended)(struct server_conn *conn, void *data);
    /* After each event, the last thing; the connection may be gone. */
    void (*worked)(void *data);
};

struct server_conn_args {
    sd_event *event; /* borrowed, as all else, for as long as it lives */
    const struct dispatch *dispatch;
    uint64_t start_usec; /* by then the peer must have begun */
    const struct server_conn_events *events;
    void *data;
};

struct server_conn {
    LIST_ENTRY(server_conn) entry; /* the server's; all else is private */
    struct server_conn_args args;
    int fd;
    uint32_t watched; /* EPOLL* */
    bool is_lost;     /* the peer is gone, or can't be written to */
    unsigned n_stream_errors;
    size_t n_streams_peak;    /* since the last end of a burst */
    uint64_t idle_since_usec; /* of a connection without streams */
    struct h2_conn *h2;
    struct dispatch_conn dispatch;
    sd_event_source *io, *flush, *starting;
};

/* Takes `fd`, also when it can't be served: then the answer is NULL, which is logged. */
struct server_conn *server_conn_new(const struct server_conn_args *args, int fd);
/* Tells nobody. */
struct server_conn *server_conn_free(struct server_conn *conn);

bool server_conn_is_idle(const struct server_conn *conn);
/* CLOCK_MONOTONIC, of one that is idle. */
uint64_t server_conn_idle_since(const struct server_conn *conn);
/* Bytes of requests and answers that are in memory. */
size_t server_conn_held_bytes(const struct server_conn *conn);
/* Nothing waits to be sent. */
bool server_conn_has_said_all(const struct server_conn *conn);

/* Says GOAWAY; it may be over then. */
void server_conn_shutdown(struct server_conn *conn);
/* Says GOAWAY, and is gone. */
void server_conn_dismiss(struct server_conn *conn);
