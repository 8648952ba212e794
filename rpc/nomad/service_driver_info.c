#include <assert.h>
#include <errno.h>

#include "driver.pb-c.h"
#include "recoverable_error.pb-c.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/nomad/convert_schema.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/spec/task_options.h"

/* --- what the driver is ---------------------------------------------------------------------- */

/* Hosts from Nomad 2.0.4 on say both; tasks have to do with neither. */
static void driver_init(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__InitResponse answer = NOMAD__INIT_RESPONSE__INIT;

    (void)request;
    (void)context;
    call_reply(call, &answer.base);
}

static void driver_shutdown(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__ShutdownResponse answer = NOMAD__SHUTDOWN_RESPONSE__INIT;

    (void)request;
    (void)context;
    call_reply(call, &answer.base);
}

static void driver_task_config_schema(struct call *call, const ProtobufCMessage *request,
                                      void *context)
{
    Nomad__TaskConfigSchemaResponse answer = NOMAD__TASK_CONFIG_SCHEMA_RESPONSE__INIT;

    (void)request;
    (void)context;
    answer.spec = convert_schema(task_option_rows);
    call_reply(call, &answer.base);
    hcl__spec__free_unpacked(answer.spec, NULL);
}

static void driver_capabilities(struct call *call, const ProtobufCMessage *request, void *context)
{
    Nomad__CapabilitiesResponse answer = NOMAD__CAPABILITIES_RESPONSE__INIT;
    Nomad__DriverCapabilities capabilities = NOMAD__DRIVER_CAPABILITIES__INIT;
    Nomad__NetworkIsolationSpec__NetworkIsolationMode modes[] = {
        NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__HOST,
        NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP,
    };

    (void)request;
    (void)context;
    capabilities.send_signals = true;
    capabilities.exec = true;
    capabilities.fs_isolation = NOMAD__DRIVER_CAPABILITIES__FSISOLATION__IMAGE;
    capabilities.mount_configs = NOMAD__DRIVER_CAPABILITIES__MOUNT_CONFIGS__ANY_MOUNTS;
    capabilities.n_network_isolation_modes = sizeof(modes) / sizeof(modes[0]);
    capabilities.network_isolation_modes = modes;
    answer.capabilities = &capabilities;
    call_reply(call, &answer.base);
}

/* --- what is not there ----------------------------------------------------------------------- */

static void refuse(struct call *call, const char *sentence)
{
    CLEANUP_FAIL struct fail fail = {};

    fail_set(&fail, -EOPNOTSUPP, "%s", sentence);
    call_fail(call, &fail);
}

static void driver_network(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    refuse(call, "the nspawn driver does not make networks of task groups; the Nomad client does");
}

void service_driver_register_recoverable(void)
{
    Nomad__RecoverableError detail = NOMAD__RECOVERABLE_ERROR__INIT;
    uint8_t bytes[16];

    detail.recoverable = true;
    size_t n_bytes = nomad__recoverable_error__get_packed_size(&detail);
    assert(n_bytes > 0 && n_bytes <= sizeof(bytes));
    nomad__recoverable_error__pack(&detail, bytes);
    grpc_status_set_recoverable_detail(
        "type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError", bytes,
        n_bytes);
}

/* --- table ----------------------------------------------------------------------------------- */

const struct rpc_method driver_info_methods[] = {
    DRIVER_UNARY(Init, init, .handle = driver_init),
    DRIVER_UNARY(Shutdown, shutdown, .handle = driver_shutdown),
    DRIVER_UNARY(TaskConfigSchema, task_config_schema, .handle = driver_task_config_schema),
    DRIVER_UNARY(Capabilities, capabilities, .handle = driver_capabilities),
    DRIVER_UNARY(CreateNetwork, create_network, .handle = driver_network),
    DRIVER_UNARY(DestroyNetwork, destroy_network, .handle = driver_network),
    {},
};
