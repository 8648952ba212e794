#include "rpc/plugin.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "reactor/bus.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/dispatch.h"
#include "rpc/grpc/memory.h"
#include "rpc/grpc/server.h"
#include "rpc/handshake.h"
#include "rpc/nomad/service_base.h"
#include "rpc/nomad/service_driver.h"
#include "rpc/nomad/service_health.h"
#include "rpc/nomad/service_plugin.h"
#include "tasks/driver.h"

struct plugin {
    sd_event *event;
    struct bus *bus;
    struct driver *driver;
    struct dispatch *dispatch;
    struct server *server;
    struct service_plugin service;
    sd_event_source *on_terminate, *on_orphan;
    bool is_orphan; /* nobody reads our standard error any more: the agent is gone */
};

/* --- the end --------------------------------------------------------------------------------- */

static void end(struct plugin *plugin)
{
    int r = sd_event_exit(plugin->event, EXIT_SUCCESS);
    assert(r >= 0);
}

static void on_flushed(void *data)
{
    end(data);
}

/* The host has asked for it; the answer is to reach it first. */
static void on_shutdown(void *data)
{
    struct plugin *plugin = data;

    server_shutdown(plugin->server, on_flushed, plugin);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    (void)source;
    (void)info;
    log_debug("told to end by SIGTERM");
    on_shutdown(data);
    return 0;
}

/* An agent that dies closes both; one that is restarted while plugins live on keeps neither, and
 * starts us again. Either alone is no proof: the agent may have had its log rotated away, or have
 * dropped a connection. */
static void end_if_abandoned(struct plugin *plugin)
{
    if (!plugin->is_orphan || server_n_conns(plugin->server) > 0)
        return;
    log_debug("the agent is gone");
    end(plugin);
}

static void on_idle(void *data)
{
    end_if_abandoned(data);
}

static int on_orphan(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct plugin *plugin = data;

    (void)source;
    (void)fd;
    (void)events;
    plugin->is_orphan = true;
    plugin->on_orphan = sd_event_source_disable_unref(plugin->on_orphan);
    end_if_abandoned(plugin);
    return 0;
}

/* --- the beginning --------------------------------------------------------------------------- */

/* The agent is sent SIGINT with its whole process group when a user presses ^C, and ends its
 * plugins in order; a reader that went away is an error of write(2). */
static int set_signals(struct plugin *plugin)
{
    sigset_t set;

    if (signal(SIGINT, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        sigemptyset(&set) < 0 || sigaddset(&set, SIGTERM) < 0 ||
        sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    return sd_event_add_signal(plugin->event, &plugin->on_terminate, SIGTERM, on_terminate, plugin);
}

/* A few descriptors a task, and up to nine an exec, may be more than the 1024 that are the default
 * for the sake of select(2), which nothing here uses. Containers have limits of their own. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warn("cannot raise the limit of open files, ignoring: %s", strerror(errno));
}

/* No events are asked for: an error is always reported, and a pipe without reader has one. Files
 * can't be watched, and have no reader to lose. */
static int watch_stderr(struct plugin *plugin)
{
    int r = sd_event_add_io(plugin->event, &plugin->on_orphan, STDERR_FILENO, 0, on_orphan, plugin);
    if (r < 0)
        return r == -EPERM ? 0 : r;
    return sd_event_source_set_description(plugin->on_orphan, "stderr-reader");
}

static void add_services(struct plugin *plugin)
{
    const struct {
        const struct rpc_method *methods;
        void *context;
    } services[] = {
        { base_methods, plugin->driver },
        { driver_info_methods, plugin->driver },
        { driver_task_methods, plugin->driver },
        { driver_stream_methods, plugin->driver },
        { driver_exec_methods, plugin->driver },
        { plugin_methods, &plugin->service },
        { health_methods, NULL },
    };

    plugin->service = (struct service_plugin){ .shutdown = on_shutdown, .data = plugin };
    plugin->dispatch = dispatch_new();
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
        dispatch_add(plugin->dispatch, services[i].methods, services[i].context);
    service_driver_register_recoverable();
}

static int set_up(struct plugin *plugin, struct handshake *handshake, struct fail *fail)
{
    raise_descriptor_limit();
    int r = sd_event_new(&plugin->event);
    if (r >= 0)
        r = set_signals(plugin);
    if (r >= 0)
        r = watch_stderr(plugin);
    if (r < 0)
        return fail_set(fail, r, "cannot set up the event loop: %s", strerror(-r));
    plugin->bus = bus_new(plugin->event, NULL);
    plugin->driver = driver_new(plugin->bus);
    add_services(plugin);
    r = handshake_listen(handshake, fail);
    if (r < 0)
        return r;
    r = server_new(plugin->event, plugin->dispatch, TAKE_FD(handshake->listen_fd), &plugin->server);
    if (r < 0)
        return fail_set(fail, r, "cannot serve: %s", strerror(-r));
    server_on_idle(plugin->server, on_idle, plugin);
    return handshake_announce(handshake, fail);
}

static void tear_down(struct plugin *plugin)
{
    plugin->server = server_free(plugin->server);
    plugin->dispatch = dispatch_free(plugin->dispatch);
    plugin->driver = driver_free(plugin->driver);
    plugin->bus = bus_free(plugin->bus);
    plugin->on_terminate = sd_event_source_disable_unref(plugin->on_terminate);
    plugin->on_orphan = sd_event_source_disable_unref(plugin->on_orphan);
    plugin->event = sd_event_unref(plugin->event);
}

int plugin_run(void)
{
    memory_set_limits();

    CLEANUP(tear_down) struct plugin plugin = {};
    CLEANUP(handshake_done) struct handshake handshake = HANDSHAKE_INIT;
    CLEANUP_FAIL struct fail fail = {};

    if (set_up(&plugin, &handshake, &fail) < 0) {
        log_error("%s", fail_text(&fail));
        return EXIT_FAILURE;
    }
    int r = sd_event_loop(plugin.event);
    if (r < 0)
        log_error("the event loop failed: %s", strerror(-r));
    return r < 0 ? EXIT_FAILURE : r;
}
