/* A request of any of the plugin's methods (the first byte says which) as dispatch unpacks it, and
 * what its handler makes of the message before it asks the task side. */
#include <stdlib.h>

#include "base.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_message.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_spec.h"
#include "rpc/nomad/convert_topology.h"
#include "rpc/nomad/service_base.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/spec/task_spec.h"
#include "tests/fuzz/input.h"

static void take_spec(int r, const struct fail *fail, const struct task_spec *spec)
{
    static const struct plugin_config plugin = { .enabled = true };
    CLEANUP_FAIL struct fail reason = {};

    MUST(r <= 0 && (r < 0) == (fail->message != NULL));
    MUST((r < 0) == (spec->id == NULL));
    if (r == 0)
        MUST((task_spec_check(spec, &plugin, &reason) < 0) == (reason.message != NULL));
}

static void start_task(const Nomad__StartTaskRequest *request)
{
    CLEANUP(task_spec_done) struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    take_spec(convert_spec(request->task, &spec, &fail), &fail, &spec);
    MUST(spec.id == NULL || (spec.name != NULL && spec.alloc_id != NULL && spec.alloc_dir != NULL));
}

static void recover_task(const Nomad__RecoverTaskRequest *request)
{
    CLEANUP(task_spec_done) struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    take_spec(convert_spec_of_handle(request->handle, &spec, &fail), &fail, &spec);
}

static void set_config(const Nomad__SetConfigRequest *request)
{
    if (request->nomad_config != NULL && request->nomad_config->driver != NULL)
        MUST(convert_core_mhz(request->nomad_config->driver->topology) >= 0);
}

static void take(const ProtobufCMessage *message)
{
    if (message->descriptor == &nomad__start_task_request__descriptor)
        start_task((const Nomad__StartTaskRequest *)message);
    else if (message->descriptor == &nomad__recover_task_request__descriptor)
        recover_task((const Nomad__RecoverTaskRequest *)message);
    else if (message->descriptor == &nomad__set_config_request__descriptor)
        set_config((const Nomad__SetConfigRequest *)message);
    else if (message->descriptor == &nomad__stop_task_request__descriptor)
        MUST(convert_duration_usec(((const Nomad__StopTaskRequest *)message)->timeout) <=
             CONVERT_DURATION_USEC_MAX);
}

/* The i-th of all rows, or NULL. */
static const struct rpc_method *find(size_t i)
{
    static const struct rpc_method *const tables[] = { driver_task_methods, driver_info_methods,
                                                       driver_stream_methods, base_methods,
                                                       driver_exec_methods };

    for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
        for (const struct rpc_method *row = tables[table]; row->path != NULL; row++)
            if (i-- == 0)
                return row;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    const struct rpc_method *method = find(input_u8(&input));
    struct grpc_message *message = NULL;

    if (method == NULL || grpc_message_unpack(method->request, input.bytes, input.n, &message) < 0)
        return -1; /* not worth keeping */
    MUST(grpc_message_heap_bytes(message) <= GRPC_MESSAGE_HEAP_MAX);
    take(grpc_message_get(message));
    /* Some are said back, as they came. */
    size_t size = protobuf_c_message_get_packed_size(grpc_message_get(message));
    CLEANUP_FREE uint8_t *packed = alloc_zero(size + 1, 1);
    MUST(protobuf_c_message_pack(grpc_message_get(message), packed) == size);
    grpc_message_free(message);
    return 0;
}
