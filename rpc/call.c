#include "rpc/call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/call_transport.h"
#include "rpc/grpc_block.h"
#include "rpc/grpc_message.h"
#include "rpc/grpc_wire.h"

/* Messages up to this size are packed on the stack. */
#define SMALL_MESSAGE 2048

struct call {
    const struct rpc_method *method;
    void *context;
    struct h2_stream *stream; /* NULL: the call is inert */
    struct call_budget *budget; /* NULL together with the stream */
    size_t held_bytes;          /* our part of it */
    sd_event *event;
    sd_event_source *deadline, *overrun;

    struct grpc_reader reader;
    struct grpc_message *request;
    bool started;      /* the handler knows of it */
    bool headers_sent;
    bool ended;        /* by the handler, which has no pointer any more */
    unsigned busy;     /* hooks running above: not to be freed */

    void *data;
    void (*cancel)(struct call *call, void *data);
    void (*on_message)(struct call *call, const ProtobufCMessage *message, void *data);
    void (*on_drain)(struct call *call, void *data);
};

static bool takes_stream(const struct call *call)
{
    return call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

static bool gives_stream(const struct call *call)
{
    return call->method->kind == RPC_SERVER_STREAM || call->method->kind == RPC_BIDI_STREAM;
}

/* --- life ------------------------------------------------------------------------------------ */

/* The limit was checked where the memory was asked for. */
static void set_held(struct call *call, size_t n)
{
    if (call->budget)
        call->budget->held_bytes = call->budget->held_bytes - call->held_bytes + n;
    call->held_bytes = n;
}

static bool may_hold(const struct call *call, size_t n)
{
    return call->budget->held_bytes - call->held_bytes + n <= CALL_HELD_MAX;
}

static void call_free(struct call *call)
{
    set_held(call, 0);
    sd_event_source_disable_unref(call->deadline);
    sd_event_source_disable_unref(call->overrun);
    grpc_reader_next(&call->reader);
    grpc_message_free(call->request);
    sd_event_unref(call->event);
    free(call);
}

/* From here on nothing reaches the peer, or comes from it. */
static void detach(struct call *call)
{
    if (call->stream)
        h2_stream_set_data(call->stream, NULL);
    set_held(call, 0);
    call->stream = NULL;
    call->budget = NULL;
    call->deadline = sd_event_source_disable_unref(call->deadline);
    grpc_reader_next(&call->reader);
}

static void enter(struct call *call)
{
    call->busy++;
}

/* False: the call is gone. */
static bool leave(struct call *call)
{
    call->busy--;
    if (!call->ended)
        return true;
    if (call->busy == 0)
        call_free(call);
    return false;
}

/* The handler is done with it. */
static void retire(struct call *call)
{
    assert(!call->ended);
    detach(call);
    call->ended = true;
    if (call->busy == 0)
        call_free(call);
}

/* Tells the handler that its peer is gone: see the life of a call in call.h. */
static void cancel(struct call *call)
{
    detach(call);
    if (call->ended)
        return;
    if (!call->started) {
        retire(call);
        return;
    }
    void (*hook)(struct call *, void *) = call->cancel;
    if (!hook)
        return;
    call->cancel = NULL;
    enter(call);
    hook(call, call->data);
    call->ended = true;
    leave(call);
}

static void send_status(struct call *call, const struct grpc_status *status)
{
    struct h2_stream *stream = call->stream;
    if (!stream)
        return;
    uint8_t block[GRPC_BLOCK_MAX];
    size_t n = call->headers_sent ? grpc_block_trailers(block, status)
                                  : grpc_block_only(block, status);
    detach(call);
    h2_stream_send_trailers(stream, block, n);
}

/* Ends a call for a reason of the transport. */
static void give_up(struct call *call, enum grpc_code code, const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, code, "%s: %s", call->method->path, text);
    log_debug("%s", status.message);
    send_status(call, &status);
    cancel(call);
}

void call_refuse(struct h2_stream *stream, enum grpc_code code, const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, code, "%s", text);
    uint8_t block[GRPC_BLOCK_MAX];
    h2_stream_send_trailers(stream, block, grpc_block_only(block, &status));
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

static int on_deadline(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    give_up(data, GRPC_DEADLINE_EXCEEDED, "the caller's deadline has passed");
    return 0;
}

int call_set_deadline(struct call *call, uint64_t usec)
{
    int r = sd_event_add_time_relative(call->event, &call->deadline, CLOCK_MONOTONIC, usec, 1000,
                                       on_deadline, call);
    if (r < 0)
        return r;
    (void)sd_event_source_set_description(call->deadline, "call-deadline");
    return 0;
}

/* --- what comes in --------------------------------------------------------------------------- */

static int unpack(struct call *call, struct grpc_message **ret_message)
{
    int r = grpc_message_unpack(call->method->request, call->reader.bytes, call->reader.length,
                                ret_message);
    if (r == -EBADMSG)
        give_up(call, GRPC_INVALID_ARGUMENT, "the request is not a message of its type");
    else if (r < 0)
        give_up(call, GRPC_RESOURCE_EXHAUSTED,
                "the request takes too much memory or is nested too deeply");
    return r;
}

static void start(struct call *call)
{
    call->started = true;
    enter(call);
    call->method->handle(call, call_request(call), call->context);
    if (!leave(call))
        return;
    /* The peer may want to know that a stream is open long before there is something to say. */
    if (gives_stream(call) && call->stream && !call->headers_sent) {
        uint8_t block[GRPC_BLOCK_MAX];
        call->headers_sent = true;
        h2_stream_send_headers(call->stream, block, grpc_block_headers(block));
    }
}

void call_open(struct call *call)
{
    if (takes_stream(call))
        start(call);
}

static const char *read_error(int r)
{
    switch (r) {
    case -EMSGSIZE:
        return "the request is larger than 4 MiB";
    case -EOPNOTSUPP:
        return "the request is compressed, only identity is supported";
    default:
        return "the request's length prefix has an unknown flag";
    }
}

static enum grpc_code read_code(int r)
{
    switch (r) {
    case -EMSGSIZE:
        return GRPC_RESOURCE_EXHAUSTED;
    case -EOPNOTSUPP:
        return GRPC_UNIMPLEMENTED;
    default:
        return GRPC_INTERNAL;
    }
}

/* One message of a client's stream. */
static void deliver(struct call *call)
{
    struct grpc_message *message = NULL;
    if (unpack(call, &message) < 0)
        return;
    grpc_reader_next(&call->reader);
    set_held(call, call->reader.n_allocated);
    if (call->on_message)
        call->on_message(call, grpc_message_get(message), call->data);
    grpc_message_free(message);
}

static void read_some(struct call *call, const uint8_t *bytes, size_t n)
{
    /* inert: a hook, or a refusal of what came before, has ended it */
    while (n > 0 && call->stream) {
        if (grpc_reader_is_whole(&call->reader)) {
            give_up(call, GRPC_INTERNAL, "more than one message in the request");
            return;
        }
        size_t used = 0;
        if (!may_hold(call, grpc_reader_room(&call->reader, n))) {
            give_up(call, GRPC_RESOURCE_EXHAUSTED, "too many requests are held in memory");
            return;
        }
        int r = grpc_reader_feed(&call->reader, bytes, n, &used);
        if (r < 0) {
            give_up(call, read_code(r), read_error(r));
            return;
        }
        set_held(call, call->reader.n_allocated);
        bytes += used;
        n -= used;
        if (r > 0 && takes_stream(call))
            deliver(call);
    }
}

void call_receive(struct call *call, const uint8_t *bytes, size_t n)
{
    struct h2_stream *stream = call->stream;
    enter(call);
    /* Before the handler sees it, which may end the stream. A handler that is to slow its peer down
     * would have this done later. */
    h2_stream_consume(stream, n);
    read_some(call, bytes, n);
    (void)leave(call);
}

static void start_with_request(struct call *call)
{
    if (!grpc_reader_is_whole(&call->reader)) {
        give_up(call, GRPC_INTERNAL,
                grpc_reader_is_empty(&call->reader) ? "the request has no message"
                                                    : "the request ends within its message");
        return;
    }
    if (unpack(call, &call->request) < 0)
        return;
    grpc_reader_next(&call->reader);
    size_t held = grpc_message_heap_bytes(call->request);
    if (!may_hold(call, held)) {
        give_up(call, GRPC_RESOURCE_EXHAUSTED, "too many requests are held in memory");
        return;
    }
    set_held(call, held);
    start(call);
}

void call_half_close(struct call *call)
{
    if (!takes_stream(call)) {
        start_with_request(call);
        return;
    }
    if (!grpc_reader_is_empty(&call->reader)) {
        give_up(call, GRPC_INTERNAL, "the request ends within a message");
        return;
    }
    enter(call);
    if (call->on_message)
        call->on_message(call, NULL, call->data);
    (void)leave(call);
}

void call_drained(struct call *call)
{
    enter(call);
    if (call->on_drain)
        call->on_drain(call, call->data);
    (void)leave(call);
}

void call_gone(struct call *call)
{
    call->stream = NULL; /* it is, and has no data to be cleared */
    cancel(call);
}

/* --- what goes out --------------------------------------------------------------------------- */

static int on_overrun(sd_event_source *source, void *data)
{
    struct call *call = data;
    (void)source;
    call->overrun = sd_event_source_disable_unref(call->overrun);
    cancel(call);
    return 0;
}

/* An answer that can't be sent ends the stream now; the handler hears of it later, as it is the one
 * that is sending. */
static void overrun(struct call *call, const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, GRPC_RESOURCE_EXHAUSTED, "%s: %s", call->method->path, text);
    log_warn("%s", status.message);
    send_status(call, &status);
    if (sd_event_add_defer(call->event, &call->overrun, on_overrun, call) < 0)
        return; /* it stays inert until the handler ends it */
    (void)sd_event_source_set_description(call->overrun, "call-overrun");
}

static int send_packed(struct call *call, const ProtobufCMessage *message, size_t n)
{
    uint8_t small[GRPC_WIRE_PREFIX_SIZE + SMALL_MESSAGE], *bytes = small;
    CLEANUP_FREE uint8_t *large = NULL;
    if (n > SMALL_MESSAGE)
        bytes = large = alloc_zero(1, GRPC_WIRE_PREFIX_SIZE + n);
    grpc_wire_prefix(bytes, (uint32_t)n);
    size_t packed = protobuf_c_message_pack(message, bytes + GRPC_WIRE_PREFIX_SIZE);
    assert(packed == n);
    return h2_stream_send_data(call->stream, bytes, GRPC_WIRE_PREFIX_SIZE + n);
}

void call_send(struct call *call, const ProtobufCMessage *message)
{
    assert(!call->ended);
    assert(message->descriptor == call->method->response);
    if (!call->stream)
        return;
    size_t n = protobuf_c_message_get_packed_size(message);
    if (n > GRPC_WIRE_MESSAGE_MAX) {
        overrun(call, "the answer is larger than 4 MiB");
        return;
    }
    if (!call->headers_sent) {
        uint8_t block[GRPC_BLOCK_MAX];
        call->headers_sent = true;
        h2_stream_send_headers(call->stream, block, grpc_block_headers(block));
    }
    if (send_packed(call, message, n) < 0)
        overrun(call, "too much is queued for a peer that does not read");
}

void call_finish(struct call *call)
{
    const struct grpc_status ok = { .code = GRPC_OK };
    send_status(call, &ok);
    retire(call);
}

void call_reply(struct call *call, const ProtobufCMessage *message)
{
    assert(!gives_stream(call));
    call_send(call, message);
    call_finish(call);
}

void call_fail(struct call *call, const struct fail *fail)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_from_fail(fail, &status);
    send_status(call, &status);
    retire(call);
}

size_t call_queued_bytes(const struct call *call)
{
    return call->stream ? h2_stream_queued_bytes(call->stream) : 0;
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
