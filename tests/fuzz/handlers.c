#include "tests/fuzz/handlers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "grpc_broker.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_block.h"
#include "rpc/grpc/grpc_wire.h"

/* A stream of answers: so many at most, and more queued than this waits for the drain. */
#define STREAM_MAX  64
#define STREAM_MARK (64 * 1024)

struct kept {
    TAILQ_ENTRY(kept) entry;
    struct handlers *handlers;
    struct call *call;
    bool gives, hooked;
    uint32_t n_left; /* messages of a stream that are still to be sent */
    size_t fill;
};

static struct kept *keep(struct handlers *handlers, struct call *call, bool gives, bool hooked)
{
    struct kept *kept = ALLOC_NEW(struct kept);

    *kept = (struct kept){ .handlers = handlers, .call = call, .gives = gives, .hooked = hooked };
    TAILQ_INSERT_TAIL(&handlers->kept, kept, entry);
    handlers->n_kept++;
    handlers->n_hooked += hooked;
    call_set_data(call, kept);
    return kept;
}

/* The call, which nobody keeps any more. */
static struct call *let_go(struct kept *kept)
{
    struct call *call = kept->call;

    TAILQ_REMOVE(&kept->handlers->kept, kept, entry);
    kept->handlers->n_kept--;
    kept->handlers->n_hooked -= kept->hooked;
    kept->handlers->n_answered += GRPC_BLOCK_MAX;
    free(kept);
    return call;
}

static void on_cancel(struct call *call, void *data)
{
    MUST(((struct kept *)data)->call == call);
    (void)let_go(data);
}

/* --- answers --------------------------------------------------------------------------------- */

static void answer(struct handlers *handlers, struct call *call, size_t fill,
                   void (*give)(struct call *call, const ProtobufCMessage *message))
{
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;
    CLEANUP_FREE char *address = alloc_zero(fill + 1, 1);

    memset(address, 'x', fill);
    message.address = address;
    handlers->n_answered += fill + 64;
    give(call, &message.base);
}

static void fail(struct call *call, int error, bool recoverable, const char *text)
{
    CLEANUP_FAIL struct fail reason = {};

    if (recoverable)
        (void)fail_set_recoverable(&reason, -error, "%s", text);
    else
        (void)fail_set(&reason, -error, "%s", text);
    call_fail(call, &reason);
}

/* As a handler does that looks how much is queued. */
static void give_more(struct kept *kept)
{
    while (kept->n_left > 0 && call_queued_bytes(kept->call) < STREAM_MARK) {
        kept->n_left--;
        answer(kept->handlers, kept->call, kept->fill, call_send);
    }
}

static void on_drain(struct call *call, void *data)
{
    struct kept *kept = data;

    MUST(kept->call == call && call_queued_bytes(call) == 0);
    if (kept->n_left > 0)
        give_more(kept);
    else
        call_finish(let_go(kept));
}

/* --- methods --------------------------------------------------------------------------------- */

static void handle_echo(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct handlers *handlers = context;

    handlers->n_answered += protobuf_c_message_get_packed_size(request) + GRPC_BLOCK_MAX;
    call_reply(call, request);
}

static void handle_fail(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Plugin__ConnInfo *info = (const Plugin__ConnInfo *)request;

    (void)context;
    fail(call, (int)(info->service_id % 256) + 1, (info->service_id & 256) != 0, info->address);
}

static void handle_later(struct call *call, const ProtobufCMessage *request, void *context)
{
    MUST(call_request(call) == request);
    (void)keep(context, call, false, true);
}

static void handle_hookless(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)keep(context, call, false, false);
}

static void handle_give(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Plugin__ConnInfo *info = (const Plugin__ConnInfo *)request;
    struct kept *kept = keep(context, call, true, true);

    kept->n_left = info->service_id % STREAM_MAX;
    kept->fill = (info->service_id / STREAM_MAX) % kept->handlers->fill_max;
    call_on_drain(call, on_drain);
    give_more(kept);
}

static void on_taken(struct call *call, const ProtobufCMessage *message, void *data)
{
    struct kept *kept = data;
    struct handlers *handlers = kept->handlers;

    MUST(kept->call == call);
    if (message == NULL)
        answer(handlers, let_go(kept), 0, call_reply);
    else if (((const Plugin__ConnInfo *)message)->service_id == 13)
        fail(let_go(kept), EINVAL, false, "thirteen");
}

static void handle_take(struct call *call, const ProtobufCMessage *request, void *context)
{
    MUST(request == NULL);
    (void)keep(context, call, false, true);
    call_on_message(call, on_taken);
}

static void on_talk(struct call *call, const ProtobufCMessage *message, void *data)
{
    struct kept *kept = data;

    if (message == NULL) {
        call_finish(let_go(kept));
        return;
    }
    kept->handlers->n_answered += protobuf_c_message_get_packed_size(message) + 64;
    call_send(call, message);
}

static void handle_talk(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)keep(context, call, true, false);
    call_on_message(call, on_talk);
}

#define METHOD(path_, kind_, handle_, cancel_)                                                  \
    {                                                                                           \
        .path = "/fuzz.Fuzz/" path_, .kind = (kind_), .handle = (handle_), .cancel = (cancel_), \
        .request = &plugin__conn_info__descriptor, .response = &plugin__conn_info__descriptor,  \
    }

const struct rpc_method handlers_methods[] = {
    METHOD("Echo", RPC_UNARY, handle_echo, NULL),
    METHOD("Fail", RPC_UNARY, handle_fail, NULL),
    METHOD("Later", RPC_UNARY, handle_later, on_cancel),
    METHOD("Hookless", RPC_UNARY, handle_hookless, NULL),
    METHOD("Give", RPC_SERVER_STREAM, handle_give, on_cancel),
    METHOD("Take", RPC_CLIENT_STREAM, handle_take, on_cancel),
    METHOD("Talk", RPC_BIDI_STREAM, handle_talk, NULL),
    METHOD("Talk2", RPC_BIDI_STREAM, handle_talk, NULL),
    {},
};
_Static_assert(sizeof(handlers_methods) / sizeof(handlers_methods[0]) == HANDLERS_PATHS + 1,
               "paths are chosen by number");

/* --- requests -------------------------------------------------------------------------------- */

/* Varints need not be short: five bytes for any number. */
static uint8_t *write_varint(uint8_t *to, uint32_t number)
{
    for (int i = 0; i < 4; i++, number >>= 7)
        *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

void handlers_write_request(uint32_t number, size_t n_address, uint8_t *to)
{
    grpc_wire_prefix(to, (uint32_t)(HANDLERS_REQUEST_SIZE(n_address) - GRPC_WIRE_PREFIX_SIZE));
    to += GRPC_WIRE_PREFIX_SIZE;
    *to++ = 1 << 3; /* service_id, a varint */
    to = write_varint(to, number);
    *to++ = 3 << 3 | 2; /* address, with its length */
    to = write_varint(to, (uint32_t)n_address);
    memset(to, 'x', n_address);
}

/* --- from outside of requests ---------------------------------------------------------------- */

static struct kept *find(const struct handlers *handlers, size_t i)
{
    struct kept *kept = TAILQ_FIRST(&handlers->kept);

    while (i-- > 0)
        kept = TAILQ_NEXT(kept, entry);
    return kept;
}

void handlers_act(struct handlers *handlers, struct input *input)
{
    uint8_t what = input_u8(input), which = input_u8(input);
    size_t fill = (size_t)1 << (what >> 3);

    if (handlers->n_kept == 0)
        return;
    if (fill > handlers->fill_max)
        fill = handlers->fill_max;
    struct kept *kept = find(handlers, which % handlers->n_kept);
    switch (what % 4) {
    case 0:
        if (kept->gives)
            answer(handlers, kept->call, fill, call_send);
        break;
    case 1:
        fail(let_go(kept), what, (what & 4) != 0, "as the fuzzer says");
        break;
    default:
        if (kept->gives)
            call_finish(let_go(kept));
        else
            answer(handlers, let_go(kept), fill, call_reply);
    }
}

void handlers_init(struct handlers *handlers, size_t fill_max)
{
    *handlers = (struct handlers){ .fill_max = fill_max };
    TAILQ_INIT(&handlers->kept);
}

void handlers_done(struct handlers *handlers)
{
    MUST(handlers->n_hooked == 0);
    while (handlers->n_kept > 0) {
        bool gives = TAILQ_FIRST(&handlers->kept)->gives;
        struct call *call = let_go(TAILQ_FIRST(&handlers->kept));

        if (gives)
            call_finish(call);
        else
            answer(handlers, call, 0, call_reply);
    }
}
