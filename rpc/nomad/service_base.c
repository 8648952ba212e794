#include "rpc/nomad/service_base.h"

#include <errno.h>
#include <string.h>

#include "base.pb-c.h"
#include "rpc/nomad/convert_schema.h"
#include "rpc/nomad/convert_topology.h"
#include "tasks/driver.h"
#include "tasks/spec/plugin_options.h"

static void base_plugin_info(struct call *call, const ProtobufCMessage *request, void *context)
{
    Nomad__PluginInfoResponse answer = NOMAD__PLUGIN_INFO_RESPONSE__INIT;
    const char *versions[] = { SERVICE_BASE_API_VERSION };

    (void)request;
    (void)context;
    answer.type = NOMAD__PLUGIN_TYPE__DRIVER;
    answer.n_plugin_api_versions = 1;
    answer.plugin_api_versions = versions;
    answer.plugin_version = PLUGIN_VERSION;
    answer.name = SERVICE_BASE_NAME;
    call_reply(call, &answer.base);
}

static void base_config_schema(struct call *call, const ProtobufCMessage *request, void *context)
{
    Nomad__ConfigSchemaResponse answer = NOMAD__CONFIG_SCHEMA_RESPONSE__INIT;

    (void)request;
    (void)context;
    answer.spec = convert_schema(plugin_options);
    call_reply(call, &answer.base);
    hcl__spec__free_unpacked(answer.spec, NULL);
}

/* The agent says the version back in the spelling of PluginInfo. */
static int check_api_version(const char *version, struct fail *reterr)
{
    if (version[0] == '\0' || strcmp(version, SERVICE_BASE_API_VERSION) == 0)
        return 0;
    return fail_set(reterr, -EINVAL, "plugin API version '%s': this plugin speaks %s", version,
                    SERVICE_BASE_API_VERSION);
}

static int set_config(struct driver *driver, const Nomad__SetConfigRequest *request,
                      struct fail *reterr)
{
    int r = check_api_version(request->plugin_api_version, reterr);
    if (r < 0)
        return r;
    r = driver_set_config(driver, request->msgpack_config.data, request->msgpack_config.len,
                          reterr);
    if (r < 0)
        return r;
    /* Absent when an agent only tries the configuration, and from agents before Nomad 1.7. */
    if (request->nomad_config != NULL && request->nomad_config->driver != NULL)
        driver_set_core_mhz(driver, convert_core_mhz(request->nomad_config->driver->topology));
    return 0;
}

static void base_set_config(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__SetConfigResponse answer = NOMAD__SET_CONFIG_RESPONSE__INIT;
    CLEANUP_FAIL struct fail fail = {};

    if (set_config(context, (const Nomad__SetConfigRequest *)request, &fail) < 0)
        call_fail(call, &fail);
    else
        call_reply(call, &answer.base);
}

#define UNARY(Rpc, rpc, handler)                                         \
    {                                                                    \
        .path = "/hashicorp.nomad.plugins.base.proto.BasePlugin/" #Rpc,  \
        .kind = RPC_UNARY,                                               \
        .request = &nomad__##rpc##_request__descriptor,                  \
        .response = &nomad__##rpc##_response__descriptor,                \
        .handle = (handler),                                             \
    }

const struct rpc_method base_methods[] = {
    UNARY(PluginInfo, plugin_info, base_plugin_info),
    UNARY(ConfigSchema, config_schema, base_config_schema),
    UNARY(SetConfig, set_config, base_set_config),
    {},
};
