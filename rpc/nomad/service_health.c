#include "rpc/nomad/service_health.h"

#include <errno.h>
#include <string.h>

#include "health.pb-c.h"

/* "" is the server as a whole. */
static const char *const services[] = { "", "plugin" };

#define N_SERVICES (sizeof(services) / sizeof(services[0]))

static bool is_ours(const char *service)
{
    for (size_t i = 0; i < N_SERVICES; i++)
        if (strcmp(service, services[i]) == 0)
            return true;
    return false;
}

static void health_check(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Health__HealthCheckRequest *check = (const Health__HealthCheckRequest *)request;

    (void)context;
    if (!is_ours(check->service)) {
        CLEANUP_FAIL struct fail fail = {};
        fail_set(&fail, -ENOENT, "service '%s' is not known; ask for 'plugin'", check->service);
        call_fail(call, &fail);
        return;
    }
    Health__HealthCheckResponse answer = HEALTH__HEALTH_CHECK_RESPONSE__INIT;
    answer.status = HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    call_reply(call, &answer.base);
}

static void health_list(struct call *call, const ProtobufCMessage *request, void *context)
{
    Health__HealthListResponse answer = HEALTH__HEALTH_LIST_RESPONSE__INIT;
    Health__HealthCheckResponse serving = HEALTH__HEALTH_CHECK_RESPONSE__INIT;
    Health__HealthListResponse__StatusesEntry entries[N_SERVICES], *list[N_SERVICES];

    (void)request;
    (void)context;
    serving.status = HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    for (size_t i = 0; i < N_SERVICES; i++) {
        entries[i] = (Health__HealthListResponse__StatusesEntry)
                HEALTH__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
        entries[i].key = services[i];
        entries[i].value = &serving;
        list[i] = &entries[i];
    }
    answer.n_statuses = N_SERVICES;
    answer.statuses = list;
    call_reply(call, &answer.base);
}

static void on_watch_cancel(struct call *call, void *data)
{
    (void)call;
    (void)data;
}

/* The state never changes while there is a process to ask: one message, and the stream is held. */
static void health_watch(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Health__HealthCheckRequest *check = (const Health__HealthCheckRequest *)request;
    Health__HealthCheckResponse answer = HEALTH__HEALTH_CHECK_RESPONSE__INIT;

    (void)context;
    answer.status = is_ours(check->service)
                        ? HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                        : HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    call_send(call, &answer.base);
}

const struct rpc_method health_methods[] = {
    {
        .path = "/grpc.health.v1.Health/Check",
        .kind = RPC_UNARY,
        .request = &health__health_check_request__descriptor,
        .response = &health__health_check_response__descriptor,
        .handle = health_check,
    },
    {
        .path = "/grpc.health.v1.Health/List",
        .kind = RPC_UNARY,
        .request = &health__health_list_request__descriptor,
        .response = &health__health_list_response__descriptor,
        .handle = health_list,
    },
    {
        .path = "/grpc.health.v1.Health/Watch",
        .kind = RPC_SERVER_STREAM,
        .request = &health__health_check_request__descriptor,
        .response = &health__health_check_response__descriptor,
        .handle = health_watch,
        .cancel = on_watch_cancel,
    },
    {},
};
