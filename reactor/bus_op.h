/* One method call on the bus and its answer. An op: exactly one of `done` and bus_op_free ends it,
 * and `done` is never called from inside the function that makes it.
 *
 * It dies with the connection that it was made on: whether that was down already, or goes before
 * the answer has come, `done` hears BUS_OP_GONE, from the loop. What it asked for may have been
 * done all the same. Who wants it done on the next connection asks again. */
#pragma once

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "reactor/bus.h"

/* The name of the error; its message is a sentence for people. */
#define BUS_OP_GONE SD_BUS_ERROR_DISCONNECTED

struct bus_object {
    const char *service, *path, *interface;
};

struct bus_op;

/* `reply` is NULL exactly when `error` is not; both are borrowed. The op is gone by then. */
typedef void (*bus_op_fn)(sd_bus_message *reply, const sd_bus_error *error, void *data);

/* Arguments by their types, as of sd_bus_message_append(3); "": none. */
struct bus_op *bus_op_call(struct bus *bus, const struct bus_object *object, const char *method,
                           bus_op_fn done, void *data, const char *types, ...);
/* A property of the object's interface: the reply is one variant. */
struct bus_op *bus_op_get(struct bus *bus, const struct bus_object *object, const char *property,
                          bus_op_fn done, void *data);
/* All of them: an a{sv}. */
struct bus_op *bus_op_get_all(struct bus *bus, const struct bus_object *object, bus_op_fn done,
                              void *data);
/* A message made on bus_get(bus). An answer that takes longer than `timeout_usec` is an error; 0:
 * no limit but sd-bus's own. */
struct bus_op *bus_op_send(struct bus *bus, sd_bus_message *message, uint64_t timeout_usec,
                           bus_op_fn done, void *data);
struct bus_op *bus_op_free(struct bus_op *op);
