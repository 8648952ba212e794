#include "reactor/bus_op.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"

struct bus_op {
    sd_bus_slot *slot;     /* the answer is outstanding */
    sd_event_source *turn; /* it could not be sent, with `error` */
    int error;
    bus_op_fn done;
    void *data;
};

static const sd_bus_error gone = SD_BUS_ERROR_MAKE_CONST(BUS_OP_GONE, "the system bus is gone");

static void end(struct bus_op *op, sd_bus_message *reply, const sd_bus_error *error)
{
    bus_op_fn done = op->done;
    void *data = op->data;

    bus_op_free(op);
    done(reply, error, data);
}

/* A connection that ends fails what is outstanding first, by an error that a slow service may give
 * just as well, and then says that it has ended. */
static int on_reply(sd_bus_message *message, void *data, sd_bus_error *ret_error)
{
    const sd_bus_error *error = sd_bus_message_get_error(message);

    (void)ret_error;
    if (error != NULL && sd_bus_is_ready(sd_bus_message_get_bus(message)) <= 0)
        error = &gone;
    end(data, error == NULL ? message : NULL, error);
    return 0;
}

static bool is_disconnection(int error)
{
    return error == -ENOTCONN || error == -ECONNRESET || error == -EPIPE;
}

static int on_turn(sd_event_source *source, void *data)
{
    struct bus_op *op = data;
    CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

    (void)source;
    (void)sd_bus_error_set_errno(&error, op->error);
    end(op, NULL, is_disconnection(op->error) ? &gone : &error);
    return 0;
}

static void fail_later(struct bus_op *op, struct bus *bus, int error)
{
    op->error = error;
    int r = sd_event_add_defer(bus_event(bus), &op->turn, on_turn, op);
    assert(r >= 0);
    (void)sd_event_source_set_description(op->turn, "bus-op");
}

static struct bus_op *op_new(bus_op_fn done, void *data)
{
    struct bus_op *op = ALLOC_NEW(struct bus_op);

    assert(done != NULL);
    op->done = done;
    op->data = data;
    return op;
}

static int send_op(struct bus_op *op, struct bus *bus, sd_bus_message *message,
                   uint64_t timeout_usec)
{
    return sd_bus_call_async(bus_get(bus), &op->slot, message, on_reply, op, timeout_usec);
}

struct bus_op *bus_op_send(struct bus *bus, sd_bus_message *message, uint64_t timeout_usec,
                           bus_op_fn done, void *data)
{
    struct bus_op *op = op_new(done, data);

    int r = send_op(op, bus, message, timeout_usec);
    if (r < 0)
        fail_later(op, bus, r);
    return op;
}

static int make_call(struct bus *bus, const struct bus_object *object, const char *method,
                     const char *types, va_list args, sd_bus_message **ret)
{
    sd_bus *connection = bus_get(bus);

    if (connection == NULL)
        return -ENOTCONN;
    int r = sd_bus_message_new_method_call(connection, ret, object->service, object->path,
                                           object->interface, method);
    return r < 0 || types[0] == '\0' ? r : sd_bus_message_appendv(*ret, types, args);
}

struct bus_op *bus_op_call(struct bus *bus, const struct bus_object *object, const char *method,
                           bus_op_fn done, void *data, const char *types, ...)
{
    struct bus_op *op = op_new(done, data);
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    va_list args;

    va_start(args, types);
    int r = make_call(bus, object, method, types, args, &message);
    va_end(args);
    if (r >= 0)
        r = send_op(op, bus, message, 0);
    if (r < 0)
        fail_later(op, bus, r);
    return op;
}

struct bus_op *bus_op_get(struct bus *bus, const struct bus_object *object, const char *property,
                          bus_op_fn done, void *data)
{
    const struct bus_object properties = { object->service, object->path, PROPERTIES };

    return bus_op_call(bus, &properties, "Get", done, data, "ss", object->interface, property);
}

struct bus_op *bus_op_get_all(struct bus *bus, const struct bus_object *object, bus_op_fn done,
                              void *data)
{
    const struct bus_object properties = { object->service, object->path, PROPERTIES };

    return bus_op_call(bus, &properties, "GetAll", done, data, "s", object->interface);
}

struct bus_op *bus_op_free(struct bus_op *op)
{
    if (op == NULL)
        return NULL;
    op->slot = sd_bus_slot_unref(op->slot);
    op->turn = sd_event_source_disable_unref(op->turn);
    free(op);
    return NULL;
}
