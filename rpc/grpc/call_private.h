/* The insides of a call, shared by call (life, ends), call_input (what comes in) and call_output
 * (what goes out). Nobody else includes this. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>

#include "rpc/grpc/call_transport.h"
#include "rpc/grpc/grpc_message.h"
#include "rpc/grpc/grpc_wire.h"

struct call {
    const struct rpc_method *method;
    void *context;
    struct h2_stream *stream;   /* NULL: the call is inert */
    struct call_budget *budget; /* NULL together with the stream */
    size_t held_bytes;          /* our part of it */
    sd_event *event;
    sd_event_source *deadline, *overrun, *resuming;

    struct grpc_reader reader;
    struct grpc_message *request;
    struct grpc_metadata metadata; /* of the request */
    struct grpc_metadata initial, trailing;
    /* What came while its handler had paused; NULL: nothing. */
    struct evbuffer *pending;

    unsigned busy; /* hooks running above: not to be freed */
    bool started;  /* the handler knows of it */
    bool headers_sent;
    bool ended; /* by the handler, which has no pointer any more */
    bool paused;
    bool owes_half_close; /* it came, the handler does not know yet */

    void *data;
    void (*cancel)(struct call *call, void *data);
    void (*on_message)(struct call *call, const ProtobufCMessage *message, void *data);
    void (*on_drain)(struct call *call, void *data);
};

/* call.c */
bool call_takes_stream(const struct call *call);
bool call_gives_stream(const struct call *call);
/* Around what may run a handler. After leave() has answered false the call is gone. */
void call_enter(struct call *call);
bool call_leave(struct call *call);
/* From here on nothing reaches the peer, or comes from it. */
void call_detach(struct call *call);
/* The handler is done with it. */
void call_retire(struct call *call);
/* Tells the handler that its peer is gone: see the life of a call in call.h. */
void call_cancel(struct call *call);
/* What the call holds besides its metadata. The limit was checked where the memory was asked
 * for. */
void call_set_held(struct call *call, size_t n);
bool call_may_hold(const struct call *call, size_t n);

/* call_output.c. Ends a call for a reason of the transport. */
void call_give_up(struct call *call, enum grpc_code code, const char *text);
