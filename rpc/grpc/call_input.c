/* What the peer says: messages, one or a stream of them, and their end. */
#include <assert.h>
#include <errno.h>

#include "reactor/cleanup.h"
#include "rpc/grpc/call_private.h"

#define TOO_MUCH_HELD "too many requests are held in memory"

static int unpack(struct call *call, struct grpc_message **ret_message)
{
    int r = grpc_message_unpack(call->method->request, call->reader.bytes, call->reader.length,
                                ret_message);
    if (r == -EBADMSG)
        call_give_up(call, GRPC_INVALID_ARGUMENT, "the request is not a message of its type");
    else if (r < 0)
        call_give_up(call, GRPC_RESOURCE_EXHAUSTED,
                "the request takes too much memory or is nested too deeply");
    return r;
}

static void start(struct call *call)
{
    call->started = true;
    call_enter(call);
    call->method->handle(call, call_request(call), call->context);
    /* The peer may want to know that a stream is open long before there is something to say. */
    if (call_gives_stream(call) && !call->ended)
        call_send_headers(call);
    (void)call_leave(call);
}

void call_open(struct call *call, struct grpc_metadata *metadata)
{
    if (!call_may_hold(call, metadata->heap_bytes)) {
        call_give_up(call, GRPC_RESOURCE_EXHAUSTED, TOO_MUCH_HELD);
        return;
    }
    call->metadata = *metadata;
    *metadata = (struct grpc_metadata){};
    call_set_held(call, 0);
    if (call_takes_stream(call))
        start(call);
}

static const char *read_error(int r)
{
    switch (r) {
    case -EMSGSIZE:
        return "the request is larger than 4 MiB";
    case -EPROTO:
        /* a request of another encoding has not come so far: gRPC's compression.md, test cases */
        return "the compressed flag is set, and grpc-encoding is none or identity";
    default:
        return "the request's length prefix has an unknown flag";
    }
}

static enum grpc_code read_code(int r)
{
    return r == -EMSGSIZE ? GRPC_RESOURCE_EXHAUSTED : GRPC_INTERNAL;
}

/* One message of a client's stream. */
static void deliver(struct call *call)
{
    struct grpc_message *message = NULL;
    if (unpack(call, &message) < 0)
        return;
    grpc_reader_next(&call->reader);
    call_set_held(call, 0);
    if (call->on_message)
        call->on_message(call, grpc_message_get(message), call->data);
    grpc_message_free(message);
}

/* Answers how many of the bytes were read: fewer when the handler has paused, or when a hook or a
 * refusal has ended the call. What is read is given room for again. */
static size_t read_some(struct call *call, const uint8_t *bytes, size_t n)
{
    size_t n_read = 0;
    while (n_read < n && call->stream && !call->paused) {
        if (grpc_reader_is_whole(&call->reader)) {
            call_give_up(call, GRPC_INTERNAL, "more than one message in the request");
            break;
        }
        if (!call_may_hold(call, grpc_reader_room(&call->reader, n - n_read))) {
            call_give_up(call, GRPC_RESOURCE_EXHAUSTED, TOO_MUCH_HELD);
            break;
        }
        size_t used = 0;
        int r = grpc_reader_feed(&call->reader, bytes + n_read, n - n_read, &used);
        if (r < 0) {
            call_give_up(call, read_code(r), read_error(r));
            break;
        }
        n_read += used;
        h2_stream_consume(call->stream, used);
        call_set_held(call, call->reader.n_allocated);
        if (r > 0 && call_takes_stream(call))
            deliver(call);
    }
    return n_read;
}

/* Bounded by the stream's window, as no room is given for it. */
static void put_aside(struct call *call, const uint8_t *bytes, size_t n)
{
    size_t held = call->reader.n_allocated + n;
    if (call->pending)
        held += evbuffer_get_length(call->pending);
    if (!call_may_hold(call, held)) {
        call_give_up(call, GRPC_RESOURCE_EXHAUSTED, TOO_MUCH_HELD);
        return;
    }
    if (!call->pending)
        call->pending = evbuffer_new();
    assert(call->pending);
    evbuffer_add(call->pending, bytes, n);
    call_set_held(call, held);
}

void call_receive(struct call *call, const uint8_t *bytes, size_t n)
{
    call_enter(call);
    size_t n_read = 0;
    if (!call->pending)
        n_read = read_some(call, bytes, n);
    if (n_read < n && call->stream)
        put_aside(call, bytes + n_read, n - n_read);
    (void)call_leave(call);
}

static void start_with_request(struct call *call)
{
    if (!grpc_reader_is_whole(&call->reader)) {
        call_give_up(call, GRPC_INTERNAL,
                     grpc_reader_is_empty(&call->reader) ? "the request has no message"
                                                         : "the request ends within its message");
        return;
    }
    if (unpack(call, &call->request) < 0)
        return;
    grpc_reader_next(&call->reader);
    size_t held = grpc_message_heap_bytes(call->request);
    if (!call_may_hold(call, held)) {
        call_give_up(call, GRPC_RESOURCE_EXHAUSTED, TOO_MUCH_HELD);
        return;
    }
    call_set_held(call, held);
    start(call);
}

static void tell_half_close(struct call *call)
{
    call->owes_half_close = false;
    if (!grpc_reader_is_empty(&call->reader))
        call_give_up(call, GRPC_INTERNAL, "the request ends within a message");
    else if (call->on_message)
        call->on_message(call, NULL, call->data);
}

void call_half_close(struct call *call)
{
    if (!call_takes_stream(call)) {
        start_with_request(call);
        return;
    }
    call->owes_half_close = true;
    if (call->paused || call->pending)
        return;
    call_enter(call);
    tell_half_close(call);
    (void)call_leave(call);
}

/* --- a handler that is slower than its peer -------------------------------------------------- */

static void read_pending(struct call *call)
{
    /* out of the call's reach, as a hook may end it */
    struct evbuffer *pending = TAKE_PTR(call->pending);
    while (pending && evbuffer_get_length(pending) > 0 && call->stream && !call->paused) {
        struct evbuffer_iovec piece;
        (void)evbuffer_peek(pending, -1, NULL, &piece, 1);
        (void)evbuffer_drain(pending, read_some(call, piece.iov_base, piece.iov_len));
    }
    if (pending && evbuffer_get_length(pending) > 0 && call->stream) {
        call_set_held(call, call->reader.n_allocated + evbuffer_get_length(pending));
        call->pending = TAKE_PTR(pending);
    }
    if (pending)
        evbuffer_free(pending);
}

static int on_resuming(sd_event_source *source, void *data)
{
    struct call *call = data;
    (void)source;
    call->resuming = sd_event_source_disable_unref(call->resuming);
    call_enter(call);
    read_pending(call);
    if (call->stream && !call->paused && call->owes_half_close)
        tell_half_close(call);
    (void)call_leave(call);
    return 0;
}

void call_pause(struct call *call)
{
    assert(call_takes_stream(call));
    call->paused = true;
    call->resuming = sd_event_source_disable_unref(call->resuming);
}

void call_resume(struct call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (!call->pending && !call->owes_half_close)
        return;
    int r = sd_event_add_defer(call->event, &call->resuming, on_resuming, call);
    assert(r >= 0);
    (void)sd_event_source_set_description(call->resuming, "call-resuming");
}
