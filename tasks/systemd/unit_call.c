#include "tasks/systemd/unit_call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/cpu_list.h"

struct unit_call {
    struct unit_service service;
    struct strv argv, environment, listen; /* listen: this is a socket and its service */
    char *name, *description, *slice, *network_namespace;
    uint8_t cpus[CPU_LIST_BYTES];
    size_t n_cpus_bytes;
    char *whom;
    int signal;
};

/* --- copies ---------------------------------------------------------------------------------- */

static int copy_fd(int fd, int *ret)
{
    if (fd < 0)
        return 0;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    *ret = copy;
    return 0;
}

static int copy_fds(struct unit_call *call, const struct unit_service *service)
{
    int r = copy_fd(service->stdout_fd, &call->service.stdout_fd);
    return r < 0 ? r : copy_fd(service->stderr_fd, &call->service.stderr_fd);
}

static struct unit_call *new_unit_call(void)
{
    struct unit_call *call = ALLOC_NEW(struct unit_call);

    call->service.stdout_fd = -EBADF;
    call->service.stderr_fd = -EBADF;
    return call;
}

struct unit_call *unit_call_for_service(const struct unit_service *service, struct fail *reterr)
{
    struct unit_call *call = new_unit_call();

    call->service = *service;
    call->service.stdout_fd = -EBADF;
    call->service.stderr_fd = -EBADF;
    call->service.name = call->name = alloc_strdup(service->name);
    call->service.description = call->description = alloc_strdup(service->description);
    call->service.slice = call->slice = alloc_strdup(service->slice);
    call->service.network_namespace = call->network_namespace =
            alloc_strdup(service->network_namespace);
    strv_copy(&call->argv, service->argv);
    if (service->environment != NULL)
        strv_copy(&call->environment, service->environment);

    int r = cpu_list_parse(service->allowed_cpus, call->cpus, &call->n_cpus_bytes);
    if (r < 0) {
        (void)fail_set(reterr, r, "cpuset '%s': expected a list like 0,2-3", service->allowed_cpus);
        return unit_call_free(call);
    }
    r = copy_fds(call, service);
    if (r < 0) {
        (void)fail_set_recoverable(reterr, r, "cannot hand descriptors to '%s': %s", service->name,
                                   strerror(-r));
        return unit_call_free(call);
    }
    return call;
}

struct unit_call *unit_call_for_socket(const struct unit_socket *socket)
{
    struct unit_call *call = new_unit_call();

    call->name = alloc_strdup(socket->name);
    call->description = alloc_strdup(socket->description);
    call->slice = alloc_strdup(socket->slice);
    strv_copy(&call->listen, socket->listen);
    strv_copy(&call->argv, socket->argv);
    return call;
}

struct unit_call *unit_call_for_kill(const char *whom, int signal)
{
    struct unit_call *call = new_unit_call();

    call->whom = alloc_strdup(whom);
    call->signal = signal;
    return call;
}

struct unit_call *unit_call_free(struct unit_call *call)
{
    if (call == NULL)
        return NULL;
    (void)close_fd(call->service.stdout_fd);
    (void)close_fd(call->service.stderr_fd);
    strv_done(&call->argv);
    strv_done(&call->environment);
    strv_done(&call->listen);
    free(call->network_namespace);
    free(call->name);
    free(call->description);
    free(call->slice);
    free(call->whom);
    free(call);
    return NULL;
}

/* --- properties ------------------------------------------------------------------------------ */

/* The result variable of a message that is built: the first error stays. */
#define APPEND(message, r, name, type, ...)                                             \
    do {                                                                                \
        if ((r) >= 0)                                                                   \
            (r) = sd_bus_message_append((message), "(sv)", (name), (type), __VA_ARGS__); \
    } while (false)

static int append_array(sd_bus_message *m, const char *name, const char *type, char element,
                        const void *bytes, size_t n_bytes)
{
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', type);
    if (r >= 0)
        r = sd_bus_message_append_array(m, element, bytes, n_bytes);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_strings(sd_bus_message *m, const char *name, const struct strv *strings)
{
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(m, strings->items);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* As ExecStart=, but that each argument is taken as it is: otherwise systemd puts variables of its
 * own in for $NAME and ${NAME}, which here are the job's and mean those inside. */
static int append_exec_start(sd_bus_message *m, const struct strv *argv)
{
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "ExecStartEx");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a(sasas)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sasas)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'r', "sasas");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", argv->items[0]);
    if (r >= 0)
        r = sd_bus_message_append_strv(m, argv->items);
    if (r >= 0)
        r = sd_bus_message_append(m, "as", 1, "no-env-expand");
    for (size_t depth = 0; r >= 0 && depth < 4; depth++)
        r = sd_bus_message_close_container(m);
    return r;
}

/* All codes and no signals: the unit then stays "active (exited)" with its result and descriptors
 * until we fetched them, while a killed nspawn still makes systemd kill what it left behind. */
static int append_success_exit_status(sd_bus_message *m)
{
    int32_t codes[256];

    for (int32_t i = 0; i < 256; i++)
        codes[i] = i;
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "SuccessExitStatus");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "(aiai)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'r', "aiai");
    if (r >= 0)
        r = sd_bus_message_append_array(m, 'i', codes, sizeof(codes));
    if (r >= 0)
        r = sd_bus_message_append_array(m, 'i', NULL, 0);
    for (size_t depth = 0; r >= 0 && depth < 3; depth++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_limits(sd_bus_message *m, const struct unit_call *call)
{
    const struct unit_service *s = &call->service;
    int r = 0;

    if (s->memory_max_bytes > 0)
        APPEND(m, r, "MemoryMax", "t", s->memory_max_bytes);
    if (s->memory_high_bytes > 0)
        APPEND(m, r, "MemoryHigh", "t", s->memory_high_bytes);
    if (s->memory_low_bytes > 0)
        APPEND(m, r, "MemoryLow", "t", s->memory_low_bytes);
    if (s->cpu_weight > 0)
        APPEND(m, r, "CPUWeight", "t", s->cpu_weight);
    if (r >= 0 && call->n_cpus_bytes > 0)
        r = append_array(m, "AllowedCPUs", "ay", 'y', call->cpus, call->n_cpus_bytes);
    return r;
}

static int append_stdio(sd_bus_message *m, const struct unit_service *s)
{
    int r = 0;

    if (s->stdout_fd >= 0)
        APPEND(m, r, "StandardOutputFileDescriptor", "h", s->stdout_fd);
    if (s->stderr_fd >= 0)
        APPEND(m, r, "StandardErrorFileDescriptor", "h", s->stderr_fd);
    return r;
}

static int append_kind(sd_bus_message *m, const struct unit_service *s)
{
    int r = 0;

    APPEND(m, r, "Type", "s", s->oneshot ? "oneshot" : "simple");
    APPEND(m, r, "RemainAfterExit", "b", true);
    APPEND(m, r, "CollectMode", "s", "inactive");
    if (s->delegate) {
        APPEND(m, r, "Delegate", "b", true);
        APPEND(m, r, "KillMode", "s", "mixed");
        APPEND(m, r, "OOMPolicy", "s", "continue");
    }
    if (s->stop_usec > 0)
        APPEND(m, r, "TimeoutStopUSec", "t", s->stop_usec);
    return r;
}

static int append_properties(sd_bus_message *m, const struct unit_call *call)
{
    int r = 0;

    APPEND(m, r, "Description", "s", call->description);
    APPEND(m, r, "Slice", "s", call->slice);
    if (r >= 0)
        r = append_kind(m, &call->service);
    if (r >= 0 && !call->service.oneshot)
        r = append_success_exit_status(m);
    if (r >= 0)
        r = append_exec_start(m, &call->argv);
    if (r >= 0 && call->environment.n_items > 0)
        r = append_strings(m, "Environment", &call->environment);
    if (r >= 0)
        r = append_stdio(m, &call->service);
    if (call->network_namespace != NULL)
        APPEND(m, r, "NetworkNamespacePath", "s", call->network_namespace);
    return r < 0 ? r : append_limits(m, call);
}

/* --- sockets --------------------------------------------------------------------------------- */

static int append_listen(sd_bus_message *m, const struct strv *listen)
{
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Listen");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a(ss)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(ss)");
    for (size_t i = 0; r >= 0 && i < listen->n_items; i++)
        r = sd_bus_message_append(m, "(ss)", "Stream", listen->items[i]);
    for (size_t depth = 0; r >= 0 && depth < 3; depth++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_socket(sd_bus_message *m, const struct unit_call *call)
{
    int r = 0;

    APPEND(m, r, "Description", "s", call->description);
    APPEND(m, r, "Slice", "s", call->slice);
    APPEND(m, r, "CollectMode", "s", "inactive-or-failed");
    return r < 0 ? r : append_listen(m, &call->listen);
}

/* It passes bytes on and needs nothing of the host. */
static int append_socket_service(sd_bus_message *m, const struct unit_call *call)
{
    int r = 0;

    APPEND(m, r, "Description", "s", call->description);
    APPEND(m, r, "Slice", "s", call->slice);
    APPEND(m, r, "CollectMode", "s", "inactive-or-failed");
    APPEND(m, r, "Type", "s", "notify");
    APPEND(m, r, "DynamicUser", "b", true);
    APPEND(m, r, "PrivateDevices", "b", true);
    APPEND(m, r, "ProtectHome", "s", "yes");
    return r < 0 ? r : append_exec_start(m, &call->argv);
}

/* The auxiliary units of a socket: its service, "x.service" of "x.socket". */
static int append_auxiliary(sd_bus_message *m, const struct unit_call *call)
{
    CLEANUP_FREE char *stem = alloc_strndup(call->name, strlen(call->name) - strlen(".socket"));
    CLEANUP_FREE char *name = alloc_printf("%s.service", stem);

    int r = sd_bus_message_open_container(m, 'a', "(sa(sv))");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'r', "sa(sv)");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_socket_service(m, call);
    for (size_t depth = 0; r >= 0 && depth < 3; depth++)
        r = sd_bus_message_close_container(m);
    return r;
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
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    bool is_socket = call->listen.n_items > 0;
    if (r >= 0)
        r = is_socket ? append_socket(m, call) : append_properties(m, call);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    if (r >= 0)
        r = is_socket ? append_auxiliary(m, call) : sd_bus_message_append(m, "a(sa(sv))", 0);
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
