#include "rpc/nomad/service_plugin.h"

#include "google/protobuf/empty.pb-c.h"
#include "grpc_broker.pb-c.h"
#include "grpc_controller.pb-c.h"
#include "grpc_stdio.pb-c.h"
#include "reactor/log.h"

/* The stream stays open until the host goes; hosts without a stream would log about it. */
static void on_held_cancel(struct call *call, void *data)
{
    (void)call;
    (void)data;
}

/* Nomad asks for no side connection of a driver and offers none: what comes is not for us. */
static void on_broker_message(struct call *call, const ProtobufCMessage *message, void *data)
{
    (void)data;
    if (message == NULL)
        call_finish(call);
}

static void broker_start_stream(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    call_on_message(call, on_broker_message);
}

/* Our own output is the log on standard error; standard output is /dev/null. */
static void stdio_stream_stdio(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)call;
    (void)request;
    (void)context;
}

static void controller_shutdown(struct call *call, const ProtobufCMessage *request, void *context)
{
    const struct service_plugin *service = context;
    const Plugin__Empty answer = PLUGIN__EMPTY__INIT;

    (void)request;
    log_debug("the host asks the plugin to end");
    call_reply(call, &answer.base);
    service->shutdown(service->data);
}

const struct rpc_method plugin_methods[] = {
    {
        .path = "/plugin.GRPCController/Shutdown",
        .kind = RPC_UNARY,
        .request = &plugin__empty__descriptor,
        .response = &plugin__empty__descriptor,
        .handle = controller_shutdown,
    },
    {
        .path = "/plugin.GRPCBroker/StartStream",
        .kind = RPC_BIDI_STREAM,
        .request = &plugin__conn_info__descriptor,
        .response = &plugin__conn_info__descriptor,
        .handle = broker_start_stream,
        .cancel = on_held_cancel,
    },
    {
        .path = "/plugin.GRPCStdio/StreamStdio",
        .kind = RPC_SERVER_STREAM,
        .request = &google__protobuf__empty__descriptor,
        .response = &plugin__stdio_data__descriptor,
        .handle = stdio_stream_stdio,
        .cancel = on_held_cancel,
    },
    {},
};
