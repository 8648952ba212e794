#include "tasks/systemd/unit_call.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

const struct bus_object unit_call_manager = { UNIT_CALL_SERVICE, UNIT_CALL_PATH,
                                              UNIT_CALL_MANAGER };

struct unit_call {
    char *name;
    struct unit_properties properties;
    struct unit_properties service; /* of a socket's service; else empty */
    char *whom;
    int signal;
};

static struct unit_call *new_unit_call(const char *name)
{
    struct unit_call *call = ALLOC_NEW(struct unit_call);

    call->name = alloc_strdup(name);
    return call;
}

struct unit_call *unit_call_free(struct unit_call *call)
{
    if (call == NULL)
        return NULL;
    unit_properties_done(&call->properties);
    unit_properties_done(&call->service);
    free(call->name);
    free(call->whom);
    free(call);
    return NULL;
}

/* --- services -------------------------------------------------------------------------------- */

static void add_name(struct unit_properties *properties, const char *description, const char *slice)
{
    unit_properties_add_string(properties, "Description", description);
    unit_properties_add_string(properties, "Slice", slice);
}

static void add_kind(struct unit_properties *properties, const struct unit_service *service)
{
    unit_properties_add_string(properties, "Type", service->oneshot ? "oneshot" : "simple");
    unit_properties_add_bool(properties, "RemainAfterExit", true);
    unit_properties_add_string(properties, "CollectMode", "inactive");
    if (service->delegate) {
        unit_properties_add_bool(properties, "Delegate", true);
        unit_properties_add_string(properties, "KillMode", "mixed");
        unit_properties_add_string(properties, "OOMPolicy", "continue");
    }
    if (service->stop_usec > 0)
        unit_properties_add_u64(properties, "TimeoutStopUSec", service->stop_usec);
    if (!service->oneshot)
        unit_properties_add_exit_codes(properties);
}

static int add_stdio(struct unit_properties *properties, const struct unit_service *service)
{
    int r = 0;

    if (service->stdout_fd >= 0)
        r = unit_properties_add_fd(properties, "StandardOutputFileDescriptor", service->stdout_fd);
    if (r >= 0 && service->stderr_fd >= 0)
        r = unit_properties_add_fd(properties, "StandardErrorFileDescriptor", service->stderr_fd);
    return r;
}

struct unit_call *unit_call_for_service(const struct unit_service *service, struct fail *reterr)
{
    struct unit_call *call = new_unit_call(service->name);
    struct unit_properties *properties = &call->properties;

    add_name(properties, service->description, service->slice);
    add_kind(properties, service);
    unit_properties_add_exec(properties, service->argv);
    if (service->environment != NULL && service->environment->n_items > 0)
        unit_properties_add_strings(properties, "Environment", service->environment);
    int r = add_stdio(properties, service);
    if (service->properties != NULL)
        unit_properties_take(properties, service->properties);
    if (r >= 0)
        return call;
    (void)fail_set_recoverable(reterr, r, "cannot hand descriptors to '%s': %s", service->name,
                               strerror(-r));
    return unit_call_free(call);
}

/* --- sockets --------------------------------------------------------------------------------- */

/* It passes bytes on and needs nothing of the host. */
static void describe_socket_service(struct unit_properties *properties,
                                    const struct unit_socket *socket)
{
    add_name(properties, socket->description, socket->slice);
    unit_properties_add_string(properties, "CollectMode", "inactive-or-failed");
    unit_properties_add_string(properties, "Type", "notify");
    unit_properties_add_bool(properties, "DynamicUser", true);
    unit_properties_add_bool(properties, "PrivateDevices", true);
    unit_properties_add_string(properties, "ProtectHome", "yes");
    unit_properties_add_exec(properties, socket->argv);
}

struct unit_call *unit_call_for_socket(const struct unit_socket *socket)
{
    struct unit_call *call = new_unit_call(socket->name);

    add_name(&call->properties, socket->description, socket->slice);
    unit_properties_add_string(&call->properties, "CollectMode", "inactive-or-failed");
    unit_properties_add_listen(&call->properties, socket->listen);
    describe_socket_service(&call->service, socket);
    return call;
}

struct unit_call *unit_call_for_kill(const char *whom, int signal)
{
    struct unit_call *call = new_unit_call(NULL);

    call->whom = alloc_strdup(whom);
    call->signal = signal;
    return call;
}

/* The auxiliary units of a socket: its service, "x.service" of "x.socket". */
static int append_auxiliary(sd_bus_message *m, const struct unit_call *call)
{
    if (call->service.n_items == 0)
        return sd_bus_message_append(m, "a(sa(sv))", 0);
    CLEANUP_FREE char *stem = alloc_strndup(call->name, strlen(call->name) - strlen(".socket"));
    CLEANUP_FREE char *name = alloc_printf("%s.service", stem);

    int r = sd_bus_message_open_container(m, 'a', "(sa(sv))");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'r', "sa(sv)");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = unit_properties_append(&call->service, m);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* --- messages -------------------------------------------------------------------------------- */

static int new_call(sd_bus *bus, const char *method, sd_bus_message **ret)
{
    return sd_bus_message_new_method_call(bus, ret, UNIT_CALL_SERVICE, UNIT_CALL_PATH,
                                          UNIT_CALL_MANAGER, method);
}

int unit_call_start(const struct unit_call *call, sd_bus *bus, sd_bus_message **ret)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    int r = new_call(bus, "StartTransientUnit", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ss", call->name, "fail");
    if (r >= 0)
        r = unit_properties_append(&call->properties, m);
    if (r >= 0)
        r = append_auxiliary(m, call);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(m);
    return 0;
}

int unit_call_kill(const struct unit_call *call, sd_bus *bus, const char *name,
                   sd_bus_message **ret)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    int r = new_call(bus, "KillUnit", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ssi", name, call->whom, (int32_t)call->signal);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(m);
    return 0;
}

int unit_call_named(sd_bus *bus, const char *method, const char *name, const char *mode,
                    sd_bus_message **ret)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    int r = new_call(bus, method, &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0 && mode != NULL)
        r = sd_bus_message_append(m, "s", mode);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(m);
    return 0;
}

int unit_call_match_owner(sd_bus *bus, sd_bus_slot **ret, sd_bus_message_handler_t handler,
                          void *data)
{
    return sd_bus_add_match_async(bus, ret,
                                  "type='signal',sender='org.freedesktop.DBus',"
                                  "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                  "arg0='" UNIT_CALL_SERVICE "'",
                                  handler, NULL, data);
}
