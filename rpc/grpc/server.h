/* The socket side of rpc/: accepts connections, moves bytes between them and their h2_conn, and
 * closes them. One loop event costs one read and one write a connection: answers are sent after all
 * that was read has been handled. Owner: main. */
#pragma once

#include <stddef.h>
#include <systemd/sd-event.h>

#include "rpc/grpc/dispatch.h"

/* The agent has one; each reattach and each tool makes one more. For a further one that connection
 * is closed, with GOAWAY, which has been without a stream for longest; an agent's never is, and a
 * gRPC client connects anew without its user's notice. When all have streams, further ones wait in
 * the socket's backlog. */
#define SERVER_CONNS_MAX 64
/* By then a peer must have sent its preface and SETTINGS, which gRPC's clients do at once. */
#define SERVER_START_USEC (10 * 1000 * UINT64_C(1000))
/* After accept(2) failed for want of descriptors or memory: nothing tells when there are some. */
#define SERVER_ACCEPT_RETRY_USEC (500 * UINT64_C(1000))
/* The host kills two seconds after it asked for the end. */
#define SERVER_SHUTDOWN_USEC (1000 * UINT64_C(1000))

struct server;

/* Takes listen_fd, also on failure. */
int server_new(sd_event *event, struct dispatch *dispatch, int listen_fd, struct server **ret);
/* Calls that are under way become inert. */
struct server *server_free(struct server *server);
/* For connections to come, instead of SERVER_START_USEC. */
void server_set_start_usec(struct server *server, uint64_t usec);

/* Called from the loop each time the last connection has gone. */
void server_on_idle(struct server *server, void (*on_idle)(void *data), void *data);
size_t server_n_conns(const struct server *server);

/* No new connections or streams; what is queued is sent. Then, or after SERVER_SHUTDOWN_USEC,
 * `done` is called from the loop, once. Calls that wait do not hold it up. May be called from a
 * handler. */
void server_shutdown(struct server *server, void (*done)(void *data), void *data);
