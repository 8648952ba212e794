/* What the handler says: headers, messages, the end. */
#include <assert.h>
#include <errno.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/call_private.h"
#include "rpc/grpc/grpc_block.h"

/* Messages up to this size are packed on the stack. */
#define SMALL_MESSAGE 2048

void call_send_headers(struct call *call)
{
    if (!call->stream || call->headers_sent)
        return;
    uint8_t block[GRPC_BLOCK_MAX];
    call->headers_sent = true;
    h2_stream_send_headers(call->stream, block, grpc_block_headers(block, &call->initial));
    grpc_metadata_done(&call->initial);
}

/* The last words, and it is detached. */
static void send_status(struct call *call, const struct grpc_status *status)
{
    struct h2_stream *stream = call->stream;
    if (!stream)
        return;
    if (call->initial.n_items > 0)
        call_send_headers(call);
    uint8_t block[GRPC_BLOCK_MAX];
    size_t n = call->headers_sent ? grpc_block_trailers(block, status, &call->trailing)
                                  : grpc_block_only(block, status, &call->trailing);
    call_detach(call);
    h2_stream_send_trailers(stream, block, n);
}

void call_give_up(struct call *call, enum grpc_code code, const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, code, "%s: %s", call->method->path, text);
    /* What crosses a limit of ours is for the operator, the rest for the caller. */
    log_write(code == GRPC_RESOURCE_EXHAUSTED ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, NULL, "%s",
              status.message);
    send_status(call, &status);
    call_cancel(call);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    call_give_up(data, GRPC_DEADLINE_EXCEEDED, "the caller's deadline has passed");
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

void call_refuse(struct h2_stream *stream, enum grpc_code code, const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, code, "%s", text);
    const struct grpc_metadata none = {};
    uint8_t block[GRPC_BLOCK_MAX];
    h2_stream_send_trailers(stream, block, grpc_block_only(block, &status, &none));
}

void call_drained(struct call *call)
{
    call_enter(call);
    if (call->on_drain)
        call->on_drain(call, call->data);
    (void)call_leave(call);
}

static int on_overrun(sd_event_source *source, void *data)
{
    struct call *call = data;
    (void)source;
    call->overrun = sd_event_source_disable_unref(call->overrun);
    call_cancel(call);
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
    call_send_headers(call);
    if (send_packed(call, message, n) < 0)
        overrun(call, "too much is queued for a peer that does not read");
}

void call_finish(struct call *call)
{
    const struct grpc_status ok = { .code = GRPC_OK };
    send_status(call, &ok);
    call_retire(call);
}

void call_reply(struct call *call, const ProtobufCMessage *message)
{
    assert(!call_gives_stream(call));
    call_send(call, message);
    call_finish(call);
}

void call_fail(struct call *call, const struct fail *fail)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_from_fail(fail, &status);
    send_status(call, &status);
    call_retire(call);
}

void call_end(struct call *call, const struct grpc_status *status)
{
    CLEANUP_GRPC_STATUS struct grpc_status copy = {};
    grpc_status_copy(status, &copy);
    send_status(call, &copy);
    call_retire(call);
}

size_t call_queued_bytes(const struct call *call)
{
    return call->stream ? h2_stream_queued_bytes(call->stream) : 0;
}

/* --- metadata -------------------------------------------------------------------------------- */

int call_add_initial(struct call *call, const char *key, const void *value, size_t n)
{
    return call->headers_sent ? -EALREADY : grpc_metadata_add(&call->initial, key, value, n);
}

int call_add_trailing(struct call *call, const char *key, const void *value, size_t n)
{
    return grpc_metadata_add(&call->trailing, key, value, n);
}
