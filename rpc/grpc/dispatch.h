/* From an HTTP/2 request to the call of a method: tables of methods are registered here, a
 * request's headers are checked against what gRPC asks for (its "gRPC over HTTP2" specification),
 * and what the stream does is told to the call. Knows no service. Owner: main; it outlives the
 * server. */
#pragma once

#include <systemd/sd-event.h>

#include "rpc/grpc/call.h"
#include "rpc/grpc/call_transport.h"
#include "rpc/h2/h2_conn.h"

struct dispatch;

struct dispatch *dispatch_new(void);
/* A table that ends with an empty row, and lives as long as the dispatch. Each path once. */
void dispatch_add(struct dispatch *dispatch, const struct rpc_method *methods, void *context);
struct dispatch *dispatch_free(struct dispatch *dispatch);

/* What the calls of one connection share. In memory of the connection's owner. */
struct dispatch_conn {
    const struct dispatch *dispatch;
    sd_event *event;
    struct call_budget budget;
};

/* To be called by the handlers of the same name in struct h2_conn_events. */
void dispatch_request(struct dispatch_conn *conn, struct h2_stream *stream,
                      const struct h2_headers *headers);
void dispatch_data(struct h2_stream *stream, const uint8_t *bytes, size_t n);
void dispatch_end(struct h2_stream *stream);
void dispatch_reset(struct h2_stream *stream);
void dispatch_drain(struct h2_stream *stream);
