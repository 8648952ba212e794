/* An RPC in flight, as its handler sees it: a request, one answer or a stream of them, an end.
 * Knows nothing of Nomad; messages are protobuf-c's.
 *
 * Life: `dispatch` makes the call and gives it to the method's `handle`. The handler ends it
 * exactly once, now or later, by call_reply, call_fail, call_finish or call_end; after that the
 * pointer is gone. When the peer goes away first (RST_STREAM, connection lost, deadline), the call
 * becomes inert: its cancel hook is called once, and if there is a hook the call is gone when the
 * hook returns. Without a hook it stays valid, everything sent is dropped, and the handler still
 * ends it.
 * No function here calls back into the handler before returning. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "rpc/grpc/grpc_metadata.h"
#include "rpc/grpc/grpc_status.h"

struct call;

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BIDI_STREAM, RPC_KIND_MAX };

/* One row of a service's table; a table ends with an empty row. */
struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    enum rpc_kind kind;
    const ProtobufCMessageDescriptor *request, *response;
    /* Unary and server-streaming: called once with the request, which lives as long as the call.
     * Client and bidi streams: called when the call opens, request is NULL; see call_on_message. */
    void (*handle)(struct call *call, const ProtobufCMessage *request, void *context);
    /* When the peer has given the call up, with call_set_data's pointer. May be NULL. */
    void (*cancel)(struct call *call, void *data);
};

/* The handler's own pointer; cancel and message hooks get it. */
void call_set_data(struct call *call, void *data);

/* Client and bidi streams: each message, then a NULL one when the peer has half-closed. The message
 * is freed after the hook returned. */
void call_on_message(struct call *call,
                     void (*on_message)(struct call *call, const ProtobufCMessage *message,
                                        void *data));

/* For a handler that can't take more now: until call_resume() no message is told, and the peer may
 * send what is left of its window (H2_STREAM_WINDOW) and has to wait. What came meanwhile is told
 * from the loop. */
void call_pause(struct call *call);
void call_resume(struct call *call);

/* The request of a unary or server-streaming call; lives as long as the call. */
const ProtobufCMessage *call_request(const struct call *call);

/* The i-th value of that key in the metadata of the request; NULL: there are not so many. Lives as
 * long as the call. */
const struct grpc_metadatum *call_metadata(const struct call *call, const char *key, size_t i);

/* Metadata of the answer, copied; the errors are those of grpc_metadata_add(). Initial goes before
 * the first message, trailing with the end. -EALREADY: the headers are out, by the first message,
 * by call_send_headers, or because a handler of a streamed answer has returned. */
int call_add_initial(struct call *call, const char *key, const void *value, size_t n);
int call_add_trailing(struct call *call, const char *key, const void *value, size_t n);
/* Ahead of the first message, if they are not out yet. */
void call_send_headers(struct call *call);

/* Queues one message of a streamed answer. */
void call_send(struct call *call, const ProtobufCMessage *message);
/* Bytes queued for this call that flow control has not let out yet: a streaming handler that sees
 * this above its own mark sends no more until on_drain. */
size_t call_queued_bytes(const struct call *call);
/* Called when the queue of this call has become empty. */
void call_on_drain(struct call *call, void (*on_drain)(struct call *call, void *data));

/* The ends. call_reply: one message and OK. call_finish: OK after what was sent. call_fail: the
 * status that the errno stands for (grpc_status), with the message and, for a recoverable failure,
 * Nomad's status detail as registered by grpc_status_set_detail. */
void call_reply(struct call *call, const ProtobufCMessage *message);
void call_finish(struct call *call);
void call_fail(struct call *call, const struct fail *fail);
/* Any status; its content is copied. A code that gRPC does not know becomes UNKNOWN, a message that
 * is too long is cut, details that are too long are left out. */
void call_end(struct call *call, const struct grpc_status *status);
