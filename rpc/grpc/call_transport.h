/* The transport's side of a call: dispatch makes calls and tells them what their stream does. The
 * handler's side is call.h.
 *
 * Owner: the call itself, from its handler's start on: it goes when the handler ends it, or when it
 * is cancelled and has a cancel hook. Before that, when its stream goes. After call_gone() the
 * transport has no pointer to it any more. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "rpc/grpc/call.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/h2/h2_stream.h"

/* Requests of one connection that are held in memory, half received or waiting for their answer:
 * 4096 streams times 4 MiB would be 16 GiB. This is sixteen of the largest, or 16 KiB each. */
#define CALL_HELD_MAX (64 * 1024 * 1024)

/* One a connection; it outlives the streams of the connection. */
struct call_budget {
    size_t held_bytes;
};

/* Takes the stream: the call is its data, until the call has ended. */
struct call *call_new(const struct rpc_method *method, void *context, struct h2_stream *stream,
                      struct call_budget *budget, sd_event *event);
/* After `usec` the call ends with DEADLINE_EXCEEDED. */
int call_set_deadline(struct call *call, uint64_t usec);

/* Each of these may end the call. Opening takes the metadata. */
void call_open(struct call *call, struct grpc_metadata *metadata);
void call_receive(struct call *call, const uint8_t *bytes, size_t n);
void call_half_close(struct call *call);
void call_drained(struct call *call);
/* The stream is no more. */
void call_gone(struct call *call);

/* An answer without a call. */
void call_refuse(struct h2_stream *stream, enum grpc_code code, const char *text);
