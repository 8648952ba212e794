/* The messages that tasks/systemd/unit.c sends to systemd. A struct unit_call owns copies of
 * all that a message is made from, descriptors included, so that it can be made again for a new
 * connection. */
#pragma once

#include <systemd/sd-bus.h>

#include "reactor/bus_op.h"
#include "reactor/fail.h"
#include "tasks/systemd/unit.h"

#define UNIT_CALL_SERVICE "org.freedesktop.systemd1"
#define UNIT_CALL_PATH    "/org/freedesktop/systemd1"
#define UNIT_CALL_MANAGER "org.freedesktop.systemd1.Manager"

extern const struct bus_object unit_call_manager; /* the same as one */

struct unit_call;

/* NULL with `reterr` set when the service can't be described. */
struct unit_call *unit_call_for_service(const struct unit_service *service, struct fail *reterr);
struct unit_call *unit_call_for_socket(const struct unit_socket *socket);
struct unit_call *unit_call_for_kill(const char *whom, int signal);
struct unit_call *unit_call_free(struct unit_call *call);

int unit_call_start(const struct unit_call *call, sd_bus *bus, sd_bus_message **ret);
int unit_call_kill(const struct unit_call *call, sd_bus *bus, const char *name,
                   sd_bus_message **ret);
/* A method that takes the unit's name and, unless NULL, a job mode. */
int unit_call_named(sd_bus *bus, const char *method, const char *name, const char *mode,
                    sd_bus_message **ret);

/* systemd came back: after a re-execution what was asked, and what it would have told, may be lost.
 * The handler is called on each change of the owner of its name. */
int unit_call_match_owner(sd_bus *bus, sd_bus_slot **ret, sd_bus_message_handler_t handler,
                          void *data);
