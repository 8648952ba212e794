/* The insides of a server, shared by server (accepting, the end) and server_conn (one connection).
 * Nobody else includes this. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rpc/grpc/server.h"
#include "rpc/h2/h2_conn.h"

struct server_conn {
    LIST_ENTRY(server_conn) entry;
    struct server *server;
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

struct server {
    sd_event *event;
    const struct dispatch *dispatch;
    int listen_fd;
    uint64_t start_usec;
    sd_event_source *accept, *accept_retry, *trim;
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

/* server_conn.c. The fd is the connection's, also when it can't be served. */
void server_conn_add(struct server *server, int fd);
void server_conn_free(struct server_conn *conn);
/* Handles what has been read and sends the answers. */
void server_conn_work(struct server_conn *conn);
/* Closes it when it is over, or watches for what it waits for. To be called after work. */
void server_conn_settle(struct server_conn *conn);
bool server_conn_is_idle(const struct server_conn *conn);
/* Bytes of requests and answers that are in memory. */
size_t server_conn_held_bytes(const struct server_conn *conn);
/* Says GOAWAY, and is gone. */
void server_conn_dismiss(struct server_conn *conn);

/* server.c: a connection has gone, or has nothing to do. */
void server_has_room(struct server *server);
/* A connection holds as much as in a burst. */
void server_note_burst(struct server *server);
/* After each event of a connection. */
void server_check_ending(struct server *server);
