#include "tasks/systemd/unit_watch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"
#include "reactor/log.h"
#include "tasks/systemd/unit_call.h"

#define PROPERTIES    "org.freedesktop.DBus.Properties"
#define UNIT_IFACE    "org.freedesktop.systemd1.Unit"
#define SERVICE_IFACE "org.freedesktop.systemd1.Service"

/* systemd that refuses to tell, on a connection that stands, is rare (it is short of something);
 * nothing tells when that ends. */
#define UNIT_WATCH_RETRY_USEC (500 * UINT64_C(1000))

struct unit_watch {
    struct bus *bus;
    struct bus_watch *bus_watch;
    char *name, *path;
    sd_bus_slot *on_changed, *on_owner;
    struct bus_op *read_unit, *read_service;
    sd_event_source *retry;
    struct unit_state state;
    bool is_read; /* all of it, since the connection was made: before, nothing is told */
    bool has_failed; /* the first of the two readings under way */
    unit_changed_fn changed;
    void *data;
};

bool unit_state_has_ended(const struct unit_state *state)
{
    return state->loaded && state->main_pid == 0 && state->exit_code != 0;
}

/* --- one property ---------------------------------------------------------------------------- */

static int read_pid(sd_bus_message *m, struct unit_state *state)
{
    uint32_t pid;

    int r = sd_bus_message_read(m, "v", "u", &pid);
    if (r >= 0)
        state->main_pid = (pid_t)pid;
    return r;
}

static int read_exit_code(sd_bus_message *m, struct unit_state *state)
{
    int32_t code;

    int r = sd_bus_message_read(m, "v", "i", &code);
    if (r >= 0)
        state->exit_code = code;
    return r;
}

static int read_exit_status(sd_bus_message *m, struct unit_state *state)
{
    int32_t status;

    int r = sd_bus_message_read(m, "v", "i", &status);
    if (r >= 0)
        state->exit_status = status;
    return r;
}

static int read_result(sd_bus_message *m, struct unit_state *state)
{
    const char *result;

    int r = sd_bus_message_read(m, "v", "s", &result);
    if (r >= 0)
        (void)snprintf(state->result, sizeof(state->result), "%s", result);
    return r;
}

static int read_started(sd_bus_message *m, struct unit_state *state)
{
    return sd_bus_message_read(m, "v", "t", &state->started_usec);
}

static int read_exited(sd_bus_message *m, struct unit_state *state)
{
    return sd_bus_message_read(m, "v", "t", &state->exited_usec);
}

static int read_active_state(sd_bus_message *m, struct unit_state *state)
{
    const char *active;

    int r = sd_bus_message_read(m, "v", "s", &active);
    if (r >= 0)
        state->is_active = strcmp(active, "inactive") != 0 && strcmp(active, "failed") != 0;
    return r;
}

static int read_load_state(sd_bus_message *m, struct unit_state *state)
{
    const char *load;

    int r = sd_bus_message_read(m, "v", "s", &load);
    if (r >= 0)
        state->loaded = strcmp(load, "loaded") == 0;
    return r;
}

static int read_invocation_id(sd_bus_message *m, struct unit_state *state)
{
    const uint8_t *bytes;
    size_t n;

    int r = sd_bus_message_enter_container(m, 'v', "ay");
    if (r >= 0)
        r = sd_bus_message_read_array(m, 'y', (const void **)&bytes, &n);
    if (r < 0)
        return r;
    state->invocation_id[0] = '\0';
    for (size_t i = 0; n == 16 && i < n; i++)
        (void)snprintf(state->invocation_id + 2 * i, 3, "%02x", bytes[i]);
    return sd_bus_message_exit_container(m);
}

static const struct {
    const char *name;
    int (*read)(sd_bus_message *m, struct unit_state *state);
} properties[] = {
    { "MainPID", read_pid },
    { "ExecMainCode", read_exit_code },
    { "ExecMainStatus", read_exit_status },
    { "ExecMainStartTimestamp", read_started },
    { "ExecMainExitTimestamp", read_exited },
    { "Result", read_result },
    { "ActiveState", read_active_state },
    { "LoadState", read_load_state },
    { "InvocationID", read_invocation_id },
};

static int read_property(sd_bus_message *m, struct unit_state *state)
{
    const char *name;

    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
        if (strcmp(properties[i].name, name) == 0)
            return properties[i].read(m, state);
    return sd_bus_message_skip(m, "v");
}

static int read_properties(sd_bus_message *m, struct unit_state *state)
{
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        r = read_property(m, state);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* --- messages -------------------------------------------------------------------------------- */

static void tell(struct unit_watch *watch)
{
    struct unit_state state = watch->state; /* the callback may free the watch */

    watch->changed(&state, watch->data);
}

static int on_changed(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct unit_watch *watch = data;
    const char *interface;

    (void)error;
    int r = sd_bus_message_read(m, "s", &interface);
    if (r >= 0)
        r = read_properties(m, &watch->state);
    if (r < 0) {
        log_warn("unit '%s': cannot read a change: %s, ignoring", watch->name, strerror(-r));
        return 0;
    }
    /* Only a loaded unit speaks of itself. */
    watch->state.loaded = true;
    if (watch->is_read)
        tell(watch);
    return 0;
}

static void retry_later(struct unit_watch *watch)
{
    int r = sd_event_source_set_time_relative(watch->retry, UNIT_WATCH_RETRY_USEC);
    assert(r >= 0);
    r = sd_event_source_set_enabled(watch->retry, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

/* False: nothing is known by it. */
static bool handle_read(struct unit_watch *watch, sd_bus_message *reply, const sd_bus_error *error)
{
    if (error != NULL) {
        /* With the connection's end all is read again, and this is switched off. */
        log_debug("unit '%s': cannot read its state: %s", watch->name, error->message);
        retry_later(watch);
        return false;
    }
    int r = read_properties(reply, &watch->state);
    if (r < 0)
        log_warn("unit '%s': cannot read its state: %s, ignoring", watch->name, strerror(-r));
    return r >= 0;
}

static void on_unit_read(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct unit_watch *watch = data;

    watch->read_unit = NULL;
    watch->has_failed = !handle_read(watch, reply, error);
}

static void on_service_read(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct unit_watch *watch = data;

    watch->read_service = NULL;
    if (!handle_read(watch, reply, error) || watch->has_failed)
        return;
    watch->is_read = true;
    tell(watch);
}

/* --- the bus comes and goes ------------------------------------------------------------------ */

static void disconnect_watch(struct unit_watch *watch)
{
    watch->on_changed = sd_bus_slot_unref(watch->on_changed);
    watch->on_owner = sd_bus_slot_unref(watch->on_owner);
    watch->read_unit = bus_op_free(watch->read_unit);
    watch->read_service = bus_op_free(watch->read_service);
    (void)sd_event_source_set_enabled(watch->retry, SD_EVENT_OFF);
}

static struct bus_op *read_all(struct unit_watch *watch, const char *interface, bus_op_fn done)
{
    const struct bus_object unit = { UNIT_CALL_SERVICE, watch->path, interface };

    return bus_op_get_all(watch->bus, &unit, done, watch);
}

static void read_state(struct unit_watch *watch)
{
    bus_op_free(watch->read_unit);
    bus_op_free(watch->read_service);
    (void)sd_event_source_set_enabled(watch->retry, SD_EVENT_OFF);
    watch->has_failed = false;
    watch->read_unit = read_all(watch, UNIT_IFACE, on_unit_read);
    watch->read_service = read_all(watch, SERVICE_IFACE, on_service_read);
}

/* What was true before may have ended without a word: a unit that is gone answers with
 * LoadState=not-found and otherwise empty values. */
static void read_anew(struct unit_watch *watch)
{
    watch->state = (struct unit_state){};
    watch->is_read = false;
    read_state(watch);
}

static int on_owner(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct unit_watch *watch = data;
    const char *owner;

    (void)error;
    int r = sd_bus_message_read(m, "sss", NULL, NULL, &owner);
    if (r < 0)
        log_debug("unit '%s': cannot read systemd's return: %s", watch->name, strerror(-r));
    else if (owner[0] != '\0')
        read_anew(watch);
    return 0;
}

static void connect_watch(struct unit_watch *watch)
{
    sd_bus *bus = bus_get(watch->bus);

    int r = sd_bus_match_signal_async(bus, &watch->on_changed, UNIT_CALL_SERVICE, watch->path,
                                      PROPERTIES, "PropertiesChanged", on_changed, NULL, watch);
    if (r >= 0)
        r = unit_call_match_owner(bus, &watch->on_owner, on_owner, watch);
    if (r < 0)
        log_debug("unit '%s': cannot watch it: %s", watch->name, strerror(-r));
    else
        read_anew(watch);
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    struct unit_watch *watch = data;

    (void)bus;
    disconnect_watch(watch);
    if (up)
        connect_watch(watch);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    unit_watch_refresh(data);
    return 0;
}

struct unit_watch *unit_watch_new(struct bus *bus, const char *name, unit_changed_fn changed,
                                  void *data)
{
    struct unit_watch *watch = ALLOC_NEW(struct unit_watch);

    watch->bus = bus;
    watch->name = alloc_strdup(name);
    int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", name, &watch->path);
    assert(r >= 0);
    watch->changed = changed;
    watch->data = data;
    r = sd_event_add_time_relative(bus_event(bus), &watch->retry, CLOCK_MONOTONIC, 0, 0, on_retry,
                                   watch);
    assert(r >= 0);
    r = sd_event_source_set_enabled(watch->retry, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(watch->retry, "unit-watch-retry");
    watch->bus_watch = bus_watch_add(bus, on_bus_changed, watch);
    return watch;
}

void unit_watch_refresh(struct unit_watch *watch)
{
    /* Without a bus all is read when it is back. */
    if (bus_get(watch->bus) != NULL)
        read_state(watch);
}

struct unit_watch *unit_watch_free(struct unit_watch *watch)
{
    if (watch == NULL)
        return NULL;
    disconnect_watch(watch);
    watch->retry = sd_event_source_disable_unref(watch->retry);
    watch->bus_watch = bus_watch_free(watch->bus_watch);
    free(watch->name);
    free(watch->path);
    free(watch);
    return NULL;
}
