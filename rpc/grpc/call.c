#include "rpc/grpc/call.h"

#include <assert.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/call_private.h"

bool call_takes_stream(const struct call *call)
{
    return call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

bool call_gives_stream(const struct call *call)
{
    return call->method->kind == RPC_SERVER_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

/* --- life ------------------------------------------------------------------------------------ */

void call_set_held(struct call *call, size_t n)
{
    if (!call->budget)
        return;
    n += call->metadata.heap_bytes;
    call->budget->held_bytes = call->budget->held_bytes - call->held_bytes + n;
    call->held_bytes = n;
}

bool call_may_hold(const struct call *call, size_t n)
{
    n += call->metadata.heap_bytes;
    return call->budget->held_bytes - call->held_bytes + n <= CALL_HELD_MAX;
}

static void call_free(struct call *call)
{
    sd_event_source_disable_unref(call->deadline);
    sd_event_source_disable_unref(call->overrun);
    grpc_metadata_done(&call->metadata);
    grpc_metadata_done(&call->initial);
    grpc_metadata_done(&call->trailing);
    grpc_reader_next(&call->reader);
    grpc_message_free(call->request);
    sd_event_unref(call->event);
    free(call);
}

void call_detach(struct call *call)
{
    if (call->stream)
        h2_stream_set_data(call->stream, NULL);
    if (call->budget)
        call->budget->held_bytes -= call->held_bytes;
    call->stream = NULL;
    call->budget = NULL;
    call->deadline = sd_event_source_disable_unref(call->deadline);
    call->resuming = sd_event_source_disable_unref(call->resuming);
    grpc_reader_next(&call->reader);
    if (call->pending)
        evbuffer_free(TAKE_PTR(call->pending));
}

void call_enter(struct call *call)
{
    call->busy++;
}

bool call_leave(struct call *call)
{
    call->busy--;
    if (!call->ended)
        return true;
    if (call->busy == 0)
        call_free(call);
    return false;
}

void call_retire(struct call *call)
{
    assert(!call->ended);
    call_detach(call);
    call->ended = true;
    if (call->busy == 0)
        call_free(call);
}

void call_cancel(struct call *call)
{
    call_detach(call);
    if (call->ended)
        return;
    if (!call->started) {
        call_retire(call);
        return;
    }
    void (*hook)(struct call *, void *) = call->cancel;
    if (!hook)
        return;
    call->cancel = NULL;
    call_enter(call);
    hook(call, call->data);
    call->ended = true;
    call_leave(call);
}

void call_gone(struct call *call)
{
    call->stream = NULL; /* it is, and has no data to be cleared */
    call_cancel(call);
}

struct call *call_new(const struct rpc_method *method, void *context, struct h2_stream *stream,
                      struct call_budget *budget, sd_event *event)
{
    struct call *call = ALLOC_NEW(struct call);
    call->method = method;
    call->context = context;
    call->stream = stream;
    call->budget = budget;
    call->event = sd_event_ref(event);
    call->cancel = method->cancel;
    h2_stream_set_data(stream, call);
    return call;
}

/* --- the handler's own ----------------------------------------------------------------------- */

void call_set_data(struct call *call, void *data)
{
    call->data = data;
}

void call_on_message(struct call *call,
                     void (*on_message)(struct call *call, const ProtobufCMessage *message,
                                        void *data))
{
    call->on_message = on_message;
}

void call_on_drain(struct call *call, void (*on_drain)(struct call *call, void *data))
{
    call->on_drain = on_drain;
}

const ProtobufCMessage *call_request(const struct call *call)
{
    return call->request ? grpc_message_get(call->request) : NULL;
}

const struct grpc_metadatum *call_metadata(const struct call *call, const char *key, size_t i)
{
    return grpc_metadata_find(&call->metadata, key, i);
}
