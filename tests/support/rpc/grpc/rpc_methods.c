#include "tests/support/rpc/grpc/rpc_methods.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "grpc_broker.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_status.h"

/* --- handlers -------------------------------------------------------------------------------- */

static void handle_echo(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct rpc_methods_seen *seen = context;

    seen->n_echoes++;
    call_reply(call, request);
    if (seen->on_echo != NULL)
        seen->on_echo(seen);
}

static void handle_flood(struct call *call, const ProtobufCMessage *request, void *context)
{
    CLEANUP_FREE char *address = alloc_zero(1, RPC_FLOOD_BYTES + 1);

    (void)request;
    (void)context;
    memset(address, 'x', RPC_FLOOD_BYTES);
    rpc_reply(call, 0, address);
}

static void on_cancel(struct call *call, void *data)
{
    struct rpc_kept *kept = data;

    assert_ptr_equal(kept->call, call);
    kept->call = NULL;
    kept->seen->n_cancelled++;
    if (kept->seen->also != NULL)
        call_finish(TAKE_PTR(kept->seen->also));
}

static void on_drain(struct call *call, void *data)
{
    const struct rpc_kept *kept = data;

    assert_ptr_equal(kept->call, call);
    assert_int_equal(call_queued_bytes(call), 0);
    kept->seen->n_drains++;
}

static void handle_keep(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct rpc_methods_seen *seen = context;

    assert_true(seen->n_kept < RPC_KEPT_MAX);
    struct rpc_kept *kept = &seen->kept[seen->n_kept++];
    *kept = (struct rpc_kept){ seen, call };
    assert_non_null(request);
    assert_ptr_equal(call_request(call), request);
    call_set_data(call, kept);
    call_on_drain(call, on_drain);
}

#define METHOD(path_, kind_, handle_, cancel_)                                                 \
    {                                                                                          \
        .path = (path_), .kind = (kind_), .handle = (handle_), .cancel = (cancel_),            \
        .request = &plugin__conn_info__descriptor, .response = &plugin__conn_info__descriptor, \
    }

const struct rpc_method rpc_methods[] = {
    METHOD(RPC_ECHO, RPC_UNARY, handle_echo, NULL),
    METHOD(RPC_FLOOD, RPC_UNARY, handle_flood, NULL),
    METHOD(RPC_KEEP, RPC_UNARY, handle_keep, on_cancel),
    METHOD(RPC_KEEP_HOOKLESS, RPC_UNARY, handle_keep, NULL),
    METHOD(RPC_GIVE, RPC_SERVER_STREAM, handle_keep, on_cancel),
    {},
};

/* --- the test's side ------------------------------------------------------------------------- */

struct call *rpc_kept(const struct rpc_methods_seen *seen, size_t i)
{
    assert_true(i < seen->n_kept);
    assert_non_null(seen->kept[i].call);
    return seen->kept[i].call;
}

struct call *rpc_kept_take(struct rpc_methods_seen *seen, size_t i)
{
    struct call *call = rpc_kept(seen, i);

    seen->kept[i].call = NULL;
    return call;
}

static Plugin__ConnInfo make_message(uint32_t id, const char *address)
{
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    message.service_id = id;
    if (address != NULL)
        message.address = address;
    return message;
}

struct grpc_call *rpc_call(struct grpc_peer *peer, const char *path, uint32_t id)
{
    const Plugin__ConnInfo message = make_message(id, NULL);

    return grpc_peer_call(peer, &(struct grpc_request){ .path = path, .message = &message.base });
}

uint32_t rpc_answer_id(const struct grpc_call *call, size_t i)
{
    Plugin__ConnInfo *message =
        (Plugin__ConnInfo *)grpc_call_message(call, i, &plugin__conn_info__descriptor);
    uint32_t id = message->service_id;

    plugin__conn_info__free_unpacked(message, NULL);
    return id;
}

void rpc_expect_id(struct grpc_call *call, uint32_t id)
{
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 1);
    assert_int_equal(rpc_answer_id(call, 0), id);
}

void rpc_expect_served(struct grpc_peer *peer)
{
    rpc_expect_id(rpc_call(peer, RPC_ECHO, 4711), 4711);
}

void rpc_send(struct call *call, uint32_t id, const char *address)
{
    const Plugin__ConnInfo message = make_message(id, address);

    call_send(call, &message.base);
}

void rpc_reply(struct call *call, uint32_t id, const char *address)
{
    const Plugin__ConnInfo message = make_message(id, address);

    call_reply(call, &message.base);
}
