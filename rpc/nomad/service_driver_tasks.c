#include "driver.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_spec.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/driver.h"

static void answer_with(struct call *call, const struct fail *fail, const ProtobufCMessage *message)
{
    if (fail != NULL)
        call_fail(call, fail);
    else
        call_reply(call, message);
}

/* --- start, recover -------------------------------------------------------------------------- */

static void reply_started(struct call *call, const struct task_started *started,
                          Nomad__NetworkOverride *network)
{
    const Nomad__StartTaskRequest *request = (const Nomad__StartTaskRequest *)call_request(call);
    Nomad__StartTaskResponse answer = NOMAD__START_TASK_RESPONSE__INIT;
    Nomad__TaskHandle handle = NOMAD__TASK_HANDLE__INIT;
    CLEANUP_FREE uint8_t *state = alloc_memdup(started->driver_state, started->n_bytes);

    handle.version = SERVICE_DRIVER_HANDLE_VERSION;
    /* Whole: after its restart the agent has nothing else to name the task with. */
    handle.config = request->task;
    handle.state = NOMAD__TASK_STATE__RUNNING;
    handle.driver_state.data = state;
    handle.driver_state.len = started->n_bytes;
    answer.result = NOMAD__START_TASK_RESPONSE__RESULT__SUCCESS;
    answer.handle = &handle;
    answer.network_override = network;
    call_reply(call, &answer.base);
}

typedef Nomad__NetworkOverride__PortMapEntry port_entry;

static void on_started(const struct task_started *started, const struct fail *fail, void *data)
{
    Nomad__NetworkOverride network = NOMAD__NETWORK_OVERRIDE__INIT;
    CLEANUP(strv_done) struct strv texts = {};

    if (fail != NULL) {
        call_fail(data, fail);
        return;
    }
    const struct task_network_address *told = &started->network;
    CLEANUP_FREE port_entry *entries = alloc_zero(told->n_ports + 1, sizeof(*entries));
    CLEANUP_FREE port_entry **list = (port_entry **)alloc_zero(told->n_ports + 1, sizeof(*list));
    for (size_t i = 0; i < told->n_ports; i++) {
        entries[i] = (port_entry)NOMAD__NETWORK_OVERRIDE__PORT_MAP_ENTRY__INIT;
        entries[i].key = convert_text(&texts, told->ports[i].label);
        entries[i].value = told->ports[i].port;
        list[i] = &entries[i];
    }
    network.n_port_map = told->n_ports;
    network.port_map = list;
    network.addr = convert_text(&texts, told->address);
    network.auto_advertise = told->auto_advertise;
    reply_started(data, started, told->address != NULL ? &network : NULL);
}

static void driver_start(struct call *call, const ProtobufCMessage *request, void *context)
{
    CLEANUP(task_spec_done) struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    if (convert_spec(((const Nomad__StartTaskRequest *)request)->task, &spec, &fail) < 0) {
        call_fail(call, &fail);
        return;
    }
    driver_start_task(context, &spec, on_started, call);
}

static void on_recovered(const struct fail *fail, void *data)
{
    const Nomad__RecoverTaskResponse answer = NOMAD__RECOVER_TASK_RESPONSE__INIT;

    answer_with(data, fail, &answer.base);
}

static void driver_recover(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__TaskHandle *handle = ((const Nomad__RecoverTaskRequest *)request)->handle;
    CLEANUP(task_spec_done) struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    if (convert_spec_of_handle(handle, &spec, &fail) < 0) {
        call_fail(call, &fail);
        return;
    }
    driver_recover_task(context, &spec, handle->driver_state.data, handle->driver_state.len,
                        on_recovered, call);
}

/* --- wait ------------------------------------------------------------------------------------ */

static void on_exited(const struct task_exit *exit, void *data)
{
    struct call *call = data;
    Nomad__WaitTaskResponse answer = NOMAD__WAIT_TASK_RESPONSE__INIT;
    Nomad__ExitResult result;
    CLEANUP(strv_done) struct strv texts = {};

    convert_exit(exit, &result);
    answer.result = &result;
    answer.err = convert_text(&texts, exit->error);
    /* The waiter is gone by itself: nothing is left to cancel. */
    call_set_data(call, NULL);
    call_reply(call, &answer.base);
}

static void driver_wait(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__WaitTaskRequest *wait = (const Nomad__WaitTaskRequest *)request;
    struct task_waiter *waiter;
    CLEANUP_FAIL struct fail fail = {};

    if (driver_wait_task(context, wait->task_id, on_exited, call, &waiter, &fail) < 0)
        call_fail(call, &fail);
    else
        call_set_data(call, waiter);
}

static void driver_wait_cancel(struct call *call, void *data)
{
    (void)call;
    (void)task_waiter_free(data);
}

/* --- stop, destroy, signal ------------------------------------------------------------------- */

static void on_stopped(const struct fail *fail, void *data)
{
    const Nomad__StopTaskResponse answer = NOMAD__STOP_TASK_RESPONSE__INIT;

    answer_with(data, fail, &answer.base);
}

static void driver_stop(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__StopTaskRequest *stop = (const Nomad__StopTaskRequest *)request;

    driver_stop_task(context, stop->task_id, convert_duration_usec(stop->timeout), stop->signal,
                     on_stopped, call);
}

static void on_destroyed(const struct fail *fail, void *data)
{
    const Nomad__DestroyTaskResponse answer = NOMAD__DESTROY_TASK_RESPONSE__INIT;

    answer_with(data, fail, &answer.base);
}

static void driver_destroy(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__DestroyTaskRequest *destroy = (const Nomad__DestroyTaskRequest *)request;

    driver_destroy_task(context, destroy->task_id, destroy->force, on_destroyed, call);
}

static void on_signalled(const struct fail *fail, void *data)
{
    const Nomad__SignalTaskResponse answer = NOMAD__SIGNAL_TASK_RESPONSE__INIT;

    answer_with(data, fail, &answer.base);
}

static void driver_signal(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__SignalTaskRequest *signal = (const Nomad__SignalTaskRequest *)request;

    driver_signal_task(context, signal->task_id, signal->signal, on_signalled, call);
}

/* --- inspect --------------------------------------------------------------------------------- */

typedef Nomad__TaskDriverStatus__AttributesEntry attribute_entry;

static void reply_status(struct call *call, const struct task_status *status)
{
    Nomad__InspectTaskResponse answer = NOMAD__INSPECT_TASK_RESPONSE__INIT;
    Nomad__TaskStatus task = NOMAD__TASK_STATUS__INIT;
    Nomad__TaskDriverStatus driver = NOMAD__TASK_DRIVER_STATUS__INIT;
    Google__Protobuf__Timestamp started, completed;
    Nomad__ExitResult result;
    CLEANUP(strv_done) struct strv texts = {};
    size_t n = status->attributes != NULL ? status->attributes->n_items : 0;
    CLEANUP_FREE attribute_entry *entries = alloc_zero(n + 1, sizeof(*entries));
    CLEANUP_FREE attribute_entry **list = (attribute_entry **)alloc_zero(n + 1, sizeof(*list));

    for (size_t i = 0; i < n; i++) {
        entries[i] = (attribute_entry)NOMAD__TASK_DRIVER_STATUS__ATTRIBUTES_ENTRY__INIT;
        entries[i].key = convert_text(&texts, status->attributes->items[i].key);
        entries[i].value = convert_text(&texts, status->attributes->items[i].value);
        list[i] = &entries[i];
    }
    driver.n_attributes = n;
    driver.attributes = list;

    convert_timestamp(status->started_usec, &started);
    convert_timestamp(status->completed_usec, &completed);
    convert_exit(&status->exit, &result);
    task.id = convert_text(&texts, status->id);
    task.name = convert_text(&texts, status->name);
    task.state = convert_phase(status->phase);
    task.started_at = &started;
    task.completed_at = &completed;
    task.result = &result;
    answer.task = &task;
    answer.driver = &driver;
    call_reply(call, &answer.base);
}

static void driver_inspect(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__InspectTaskRequest *inspect = (const Nomad__InspectTaskRequest *)request;
    struct task_status status = {};
    CLEANUP_FAIL struct fail fail = {};

    if (driver_inspect_task(context, inspect->task_id, &status, &fail) < 0)
        call_fail(call, &fail);
    else
        reply_status(call, &status);
}

/* --- table ----------------------------------------------------------------------------------- */

/* Without a cancel hook: what was asked for is done also when nobody waits for the answer. */
const struct rpc_method driver_task_methods[] = {
    DRIVER_UNARY(StartTask, start_task, .handle = driver_start),
    DRIVER_UNARY(RecoverTask, recover_task, .handle = driver_recover),
    DRIVER_UNARY(WaitTask, wait_task, .handle = driver_wait, .cancel = driver_wait_cancel),
    DRIVER_UNARY(StopTask, stop_task, .handle = driver_stop),
    DRIVER_UNARY(DestroyTask, destroy_task, .handle = driver_destroy),
    DRIVER_UNARY(SignalTask, signal_task, .handle = driver_signal),
    DRIVER_UNARY(InspectTask, inspect_task, .handle = driver_inspect),
    {},
};
