#include "reactor/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "reactor/alloc.h"
#include "reactor/log.h"

#define BUS_SYSTEM_ADDRESS "unix:path=/run/dbus/system_bus_socket"

/* A socket that does not exist yet is awaited by inotify (sd_bus_set_watch_bind). The delay is for
 * one that exists and refuses, or a broker that dies at once: nothing tells when that ends. */
#define BUS_RETRY_MIN_USEC (100 * UINT64_C(1000))
#define BUS_RETRY_MAX_USEC (30 * UINT64_C(1000000))

/* The first attempt is made at once, and a timer's default accuracy is a quarter of a second. */
#define BUS_RETRY_ACCURACY_USEC UINT64_C(1000)

struct bus_watch {
    LIST_ENTRY(bus_watch) entry;
    struct bus *bus;
    bus_changed_fn changed;
    void *data;
    bool told_up;
};

struct bus {
    sd_event *event;
    char *address;
    sd_bus *connection; /* also while it is being made */
    bool up;
    sd_bus_slot *on_connected, *on_disconnected;
    sd_event_source *retry, *tell;
    uint64_t retry_usec;
    LIST_HEAD(, bus_watch) watches;
    struct bus_watch *next; /* of the walk in progress; a freed watch moves it */
};

static void tell_watches(struct bus *bus)
{
    for (struct bus_watch *watch = LIST_FIRST(&bus->watches); watch != NULL; watch = bus->next) {
        bus->next = LIST_NEXT(watch, entry);
        if (watch->told_up == bus->up)
            continue;
        watch->told_up = bus->up;
        watch->changed(bus, bus->up, watch->data);
    }
    bus->next = NULL;
}

static void drop_connection(struct bus *bus)
{
    bus->on_connected = sd_bus_slot_unref(bus->on_connected);
    bus->on_disconnected = sd_bus_slot_unref(bus->on_disconnected);
    if (bus->connection != NULL)
        (void)sd_bus_detach_event(bus->connection);
    bus->connection = sd_bus_close_unref(bus->connection);
}

static void retry_later(struct bus *bus)
{
    int r = sd_event_source_set_time_relative(bus->retry, bus->retry_usec);
    assert(r >= 0);
    r = sd_event_source_set_enabled(bus->retry, SD_EVENT_ONESHOT);
    assert(r >= 0);
    bus->retry_usec *= 2;
    if (bus->retry_usec > BUS_RETRY_MAX_USEC)
        bus->retry_usec = BUS_RETRY_MAX_USEC;
}

/* The watches hear of it while the connection still stands, so that they can drop what they made
 * on it; the connection itself goes with the retry, never below its own dispatch. */
static int on_disconnected(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct bus *bus = data;

    (void)message;
    (void)error;
    if (bus->up)
        log_warn("the connection to the system bus is lost; containers run on, connecting again");
    bus->up = false;
    tell_watches(bus);
    retry_later(bus);
    return 0;
}

static int on_connected(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct bus *bus = data;

    (void)message;
    (void)error;
    bus->up = true;
    bus->retry_usec = BUS_RETRY_MIN_USEC;
    log_debug("connected to the system bus");
    tell_watches(bus);
    return 0;
}

#define LOCAL_SENDER    "org.freedesktop.DBus.Local"
#define LOCAL_PATH      "/org/freedesktop/DBus/Local"
#define LOCAL_INTERFACE "org.freedesktop.DBus.Local"

static int match_local(struct bus *bus, sd_bus_slot **slot, const char *member,
                       sd_bus_message_handler_t handler)
{
    return sd_bus_match_signal_async(bus->connection, slot, LOCAL_SENDER, LOCAL_PATH,
                                     LOCAL_INTERFACE, member, handler, NULL, bus);
}

static int prepare(struct bus *bus)
{
    int r = sd_bus_new(&bus->connection);
    if (r < 0)
        return r;
    r = sd_bus_set_address(bus->connection, bus->address);
    if (r < 0)
        return r;
    (void)sd_bus_set_description(bus->connection, "system");
    (void)sd_bus_set_bus_client(bus->connection, true);
    (void)sd_bus_set_watch_bind(bus->connection, true);
    (void)sd_bus_set_connected_signal(bus->connection, true);
    r = match_local(bus, &bus->on_connected, "Connected", on_connected);
    if (r < 0)
        return r;
    return match_local(bus, &bus->on_disconnected, "Disconnected", on_disconnected);
}

static int connect_bus(struct bus *bus)
{
    int r = prepare(bus);
    if (r < 0)
        return r;
    r = sd_bus_start(bus->connection);
    if (r < 0)
        return r;
    return sd_bus_attach_event(bus->connection, bus->event, SD_EVENT_PRIORITY_NORMAL);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *data)
{
    struct bus *bus = data;

    (void)source;
    (void)usec;
    drop_connection(bus);
    int r = connect_bus(bus);
    if (r < 0) {
        log_debug("cannot connect to the system bus at '%s': %s", bus->address, strerror(-r));
        drop_connection(bus);
        retry_later(bus);
    }
    return 0;
}

static int on_tell(sd_event_source *source, void *data)
{
    (void)source;
    tell_watches(data);
    return 0;
}

struct bus *bus_new(sd_event *event, const char *address)
{
    struct bus *bus = ALLOC_NEW(struct bus);

    if (address == NULL)
        address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
    bus->event = sd_event_ref(event);
    bus->address = alloc_strdup(address != NULL ? address : BUS_SYSTEM_ADDRESS);
    bus->retry_usec = BUS_RETRY_MIN_USEC;
    LIST_INIT(&bus->watches);

    int r = sd_event_add_time_relative(event, &bus->retry, CLOCK_MONOTONIC, 0,
                                       BUS_RETRY_ACCURACY_USEC, on_retry, bus);
    assert(r >= 0);
    (void)sd_event_source_set_description(bus->retry, "bus-retry");
    r = sd_event_add_defer(event, &bus->tell, on_tell, bus);
    assert(r >= 0);
    r = sd_event_source_set_enabled(bus->tell, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(bus->tell, "bus-tell");
    return bus;
}

struct bus *bus_free(struct bus *bus)
{
    if (bus == NULL)
        return NULL;
    assert(LIST_EMPTY(&bus->watches));
    drop_connection(bus);
    bus->retry = sd_event_source_disable_unref(bus->retry);
    bus->tell = sd_event_source_disable_unref(bus->tell);
    bus->event = sd_event_unref(bus->event);
    free(bus->address);
    free(bus);
    return NULL;
}

sd_bus *bus_get(const struct bus *bus)
{
    return bus->up ? bus->connection : NULL;
}

sd_event *bus_event(const struct bus *bus)
{
    return bus->event;
}

struct bus_watch *bus_watch_add(struct bus *bus, bus_changed_fn changed, void *data)
{
    struct bus_watch *watch = ALLOC_NEW(struct bus_watch), *last = NULL, *each;

    watch->bus = bus;
    watch->changed = changed;
    watch->data = data;
    LIST_FOREACH(each, &bus->watches, entry)
        last = each;
    if (last != NULL)
        LIST_INSERT_AFTER(last, watch, entry);
    else
        LIST_INSERT_HEAD(&bus->watches, watch, entry);
    if (bus->up) {
        int r = sd_event_source_set_enabled(bus->tell, SD_EVENT_ONESHOT);
        assert(r >= 0);
    }
    return watch;
}

struct bus_watch *bus_watch_free(struct bus_watch *watch)
{
    if (watch == NULL)
        return NULL;
    if (watch->bus->next == watch)
        watch->bus->next = LIST_NEXT(watch, entry);
    LIST_REMOVE(watch, entry);
    free(watch);
    return NULL;
}
