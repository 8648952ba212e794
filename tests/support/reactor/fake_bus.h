/* systemd, machined and the bus broker, played by one sd-bus peer in the loop of the test: listens
 * on a socket of its own, answers calls as it was told, sends signals, delays and vanishes.
 *
 *     struct fake_bus *fake = fake_bus_new(event);
 *     fake_bus_method(fake, "Get", on_get, NULL);
 *     struct bus *bus = bus_new(event, fake_bus_address(fake));
 *
 * Answered without being told: Hello, AddMatch, RemoveMatch. Anything else unknown gets the error
 * UnknownMethod. Like a broker it sends a signal to all connections; their matches choose. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

struct fake_bus;

struct fake_bus *fake_bus_new(sd_event *event);
struct fake_bus *fake_bus_free(struct fake_bus *fake);
const char *fake_bus_address(const struct fake_bus *fake);

/* Appends the results to `reply` and answers >= 0. A negative errno becomes an error reply; so does
 * an `error` that was set. `reply` is sent after the function returns. */
typedef int (*fake_bus_fn)(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                           sd_bus_error *error, void *data);

/* `member` ("StartTransientUnit") on any path and interface; a second one replaces the first. */
void fake_bus_method(struct fake_bus *fake, const char *member, fake_bus_fn answer, void *data);
/* Calls of `member` get this error until told otherwise by a NULL name. */
void fake_bus_refuse(struct fake_bus *fake, const char *member, const char *error_name,
                     const char *message);

/* The nth call from now (1: the next; Hello is not counted) fails with an error named
 * org.freedesktop.DBus.Error.Failed; 0: none. */
void fake_bus_fail_nth(struct fake_bus *fake, unsigned n);
/* Every failure: runs `scenario` with its nth call failing, n = 1, 2, 3, until one run makes fewer
 * calls. It makes all it needs itself, hands `n` to fake_bus_fail_nth, looks whether anything was
 * left behind, and answers how many calls were made. Answers the number of runs in which one
 * failed. */
unsigned fake_bus_every_failure(unsigned (*scenario)(unsigned n));
/* Calls so far of `member`, or of all (NULL). */
unsigned fake_bus_n_calls(const struct fake_bus *fake, const char *member);
/* Runs the loop until there were `n` calls in all (of `member`, or of any: NULL), and what they
 * lead to at once; false: that did not come. */
bool fake_bus_await_calls(struct fake_bus *fake, const char *member, unsigned n);
/* Whether a rule with `text` in it was asked for by AddMatch. */
bool fake_bus_has_match(const struct fake_bus *fake, const char *text);

/* Calls are executed and answered only by fake_bus_release, in their order. */
void fake_bus_hold(struct fake_bus *fake);
void fake_bus_release(struct fake_bus *fake);
/* So many are held. */
size_t fake_bus_n_held(const struct fake_bus *fake);

/* `sender` is a unique name (":1.1") or "org.freedesktop.DBus". */
void fake_bus_signal(struct fake_bus *fake, const char *sender, const char *path,
                     const char *interface, const char *member, const char *types, ...);
/* NameOwnerChanged; "" for nobody. */
void fake_bus_name(struct fake_bus *fake, const char *name, const char *old_owner,
                   const char *new_owner);

/* Closes all connections and takes the socket away; and puts it back. */
void fake_bus_vanish(struct fake_bus *fake);
void fake_bus_appear(struct fake_bus *fake);
