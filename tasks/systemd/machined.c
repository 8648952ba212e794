#include "tasks/systemd/machined.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

#define MACHINED_SERVICE "org.freedesktop.machine1"
#define MACHINED_PATH    "/org/freedesktop/machine1"
#define MACHINED_MANAGER "org.freedesktop.machine1.Manager"

/* Both questions are two calls: a name becomes an object, of which one property is read. */
struct question {
    const char *what, *method, *interface, *property, *not_found;
};

static const struct question image_question = {
    "image",
    "GetImage",
    "org.freedesktop.machine1.Image",
    "Path",
    "org.freedesktop.machine1.NoSuchImage",
};

static const struct question leader_question = {
    "machine",
    "GetMachine",
    "org.freedesktop.machine1.Machine",
    "Leader",
    "org.freedesktop.machine1.NoSuchMachine",
};

struct machined_op {
    struct bus *bus;
    struct bus_watch *watch;
    sd_event_source *turn;
    const struct question *question;
    char *name;
    sd_bus_slot *reply;
    struct fail fail;
    char *path;
    pid_t leader;
    machined_image_fn image_done;
    machined_leader_fn leader_done;
    void *data;
};

static void end_op(struct machined_op *op)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *path = TAKE_PTR(op->path);
    machined_image_fn image_done = op->image_done;
    machined_leader_fn leader_done = op->leader_done;
    pid_t leader = op->leader;
    void *data = op->data;

    fail_move(&fail, &op->fail);
    machined_op_free(op);
    if (image_done != NULL)
        image_done(path, fail.error < 0 ? &fail : NULL, data);
    else
        leader_done(leader, fail.error < 0 ? &fail : NULL, data);
}

static void handle_error(struct machined_op *op, const sd_bus_error *error)
{
    if (sd_bus_error_has_name(error, op->question->not_found))
        (void)fail_set(&op->fail, -ENOENT, "machined knows no %s '%s'", op->question->what,
                       op->name);
    else
        (void)fail_set_recoverable(&op->fail, -sd_bus_error_get_errno(error),
                                   "cannot ask machined about the %s '%s': %s", op->question->what,
                                   op->name, error->message);
}

static void handle_unreadable(struct machined_op *op, int r)
{
    (void)fail_set(&op->fail, r, "machined's answer about '%s' cannot be read: %s", op->name,
                   strerror(-r));
}

static int on_property(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct machined_op *op = data;
    const char *path = NULL;
    uint32_t leader = 0;

    (void)error;
    if (sd_bus_message_is_method_error(message, NULL)) {
        handle_error(op, sd_bus_message_get_error(message));
    } else {
        int r = op->question == &image_question ? sd_bus_message_read(message, "v", "s", &path)
                                                : sd_bus_message_read(message, "v", "u", &leader);
        if (r < 0)
            handle_unreadable(op, r);
        op->path = alloc_strdup(path);
        op->leader = (pid_t)leader;
    }
    end_op(op);
    return 0;
}

static int ask_property(struct machined_op *op, sd_bus_message *message)
{
    const char *object;

    int r = sd_bus_message_read(message, "o", &object);
    if (r < 0)
        return r;
    op->reply = sd_bus_slot_unref(op->reply);
    return sd_bus_call_method_async(sd_bus_message_get_bus(message), &op->reply, MACHINED_SERVICE,
                                    object, "org.freedesktop.DBus.Properties", "Get", on_property,
                                    op, "ss", op->question->interface, op->question->property);
}

static int on_object(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct machined_op *op = data;

    (void)error;
    if (sd_bus_message_is_method_error(message, NULL)) {
        handle_error(op, sd_bus_message_get_error(message));
    } else {
        int r = ask_property(op, message);
        if (r >= 0)
            return 0;
        handle_unreadable(op, r);
    }
    end_op(op);
    return 0;
}

static void fail_unconnected(struct machined_op *op)
{
    (void)fail_set_recoverable(&op->fail, -ENOTCONN,
                               "cannot ask machined about the %s '%s': the system bus is gone",
                               op->question->what, op->name);
    end_op(op);
}

static int on_turn(sd_event_source *source, void *data)
{
    struct machined_op *op = data;
    sd_bus *bus = bus_get(op->bus);

    (void)source;
    int r = bus == NULL ? -ENOTCONN
                        : sd_bus_call_method_async(bus, &op->reply, MACHINED_SERVICE, MACHINED_PATH,
                                                   MACHINED_MANAGER, op->question->method,
                                                   on_object, op, "s", op->name);
    if (r < 0)
        fail_unconnected(op);
    return 0;
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    (void)bus;
    if (!up)
        fail_unconnected(data);
}

static struct machined_op *op_new(struct bus *bus, const struct question *question,
                                  const char *name, void *data)
{
    struct machined_op *op = ALLOC_NEW(struct machined_op);

    op->bus = bus;
    op->question = question;
    op->name = alloc_strdup(name);
    op->data = data;
    op->watch = bus_watch_add(bus, on_bus_changed, op);
    int r = sd_event_add_defer(bus_event(bus), &op->turn, on_turn, op);
    assert(r >= 0);
    (void)sd_event_source_set_description(op->turn, "machine-op");
    return op;
}

struct machined_op *machined_find_image(struct bus *bus, const char *name, machined_image_fn done,
                                        void *data)
{
    struct machined_op *op = op_new(bus, &image_question, name, data);

    op->image_done = done;
    return op;
}

struct machined_op *machined_find_leader(struct bus *bus, const char *name, machined_leader_fn done,
                                         void *data)
{
    struct machined_op *op = op_new(bus, &leader_question, name, data);

    op->leader_done = done;
    return op;
}

struct machined_op *machined_op_free(struct machined_op *op)
{
    if (op == NULL)
        return NULL;
    op->reply = sd_bus_slot_unref(op->reply);
    op->turn = sd_event_source_disable_unref(op->turn);
    op->watch = bus_watch_free(op->watch);
    fail_done(&op->fail);
    free(op->path);
    free(op->name);
    free(op);
    return NULL;
}
