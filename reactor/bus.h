/* The connection to the system bus, made in the background and made again when it is lost: a bus
 * error says nothing about any task. Owner: main. Users subscribe to its state; everything made on
 * an sd_bus (slots, messages) must be dropped when it goes down and made anew when it comes up. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

struct bus;
struct bus_watch;

/* Connects in the background. `address` is a D-Bus address; NULL: the system bus. */
struct bus *bus_new(sd_event *event, const char *address);
struct bus *bus_free(struct bus *bus);

/* The connection, borrowed, while it is up; NULL while it is down. */
sd_bus *bus_get(const struct bus *bus);
sd_event *bus_event(const struct bus *bus);

/* Called on each change from the loop, never from inside bus_watch_add; subscribers are called in
 * the order of subscription when it comes up. */
typedef void (*bus_changed_fn)(struct bus *bus, bool up, void *data);
struct bus_watch *bus_watch_add(struct bus *bus, bus_changed_fn changed, void *data);
struct bus_watch *bus_watch_free(struct bus_watch *watch);
