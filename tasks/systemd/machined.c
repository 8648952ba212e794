#include "tasks/systemd/machined.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"
#include "reactor/cleanup.h"

#define MACHINED_SERVICE "org.freedesktop.machine1"

static const struct bus_object manager = {
    MACHINED_SERVICE,
    "/org/freedesktop/machine1",
    "org.freedesktop.machine1.Manager",
};

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
    struct bus_op *call;
    const struct question *question;
    char *name;
    machined_image_fn image_done;
    machined_leader_fn leader_done;
    void *data;
};

static void end_op(struct machined_op *op, const char *path, pid_t leader, const struct fail *fail)
{
    machined_image_fn image_done = op->image_done;
    machined_leader_fn leader_done = op->leader_done;
    void *data = op->data;

    machined_op_free(op);
    if (image_done != NULL)
        image_done(path, fail, data);
    else
        leader_done(leader, fail, data);
}

static void end_with_error(struct machined_op *op, const sd_bus_error *error)
{
    CLEANUP_FAIL struct fail fail = {};
    bool is_gone = sd_bus_error_has_name(error, BUS_OP_GONE);

    if (sd_bus_error_has_name(error, op->question->not_found))
        (void)fail_set(&fail, -ENOENT, "machined knows no %s '%s'", op->question->what, op->name);
    else
        (void)fail_set_recoverable(&fail, is_gone ? -ENOTCONN : -sd_bus_error_get_errno(error),
                                   "cannot ask machined about the %s '%s': %s", op->question->what,
                                   op->name, error->message);
    end_op(op, NULL, 0, &fail);
}

static void end_unreadable(struct machined_op *op, int r)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)fail_set(&fail, r, "machined's answer about '%s' cannot be read: %s", op->name,
                   strerror(-r));
    end_op(op, NULL, 0, &fail);
}

static void on_property(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct machined_op *op = data;
    const char *path = NULL;
    uint32_t leader = 0;

    op->call = NULL;
    if (error != NULL) {
        end_with_error(op, error);
        return;
    }
    int r = op->question == &image_question ? sd_bus_message_read(reply, "v", "s", &path)
                                            : sd_bus_message_read(reply, "v", "u", &leader);
    if (r < 0)
        end_unreadable(op, r);
    else
        end_op(op, path, (pid_t)leader, NULL);
}

static void on_object(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct machined_op *op = data;
    struct bus_object object = { .service = MACHINED_SERVICE,
                                 .interface = op->question->interface };

    op->call = NULL;
    if (error != NULL) {
        end_with_error(op, error);
        return;
    }
    int r = sd_bus_message_read(reply, "o", &object.path);
    if (r < 0)
        end_unreadable(op, r);
    else
        op->call = bus_op_get(op->bus, &object, op->question->property, on_property, op);
}

static struct machined_op *op_new(struct bus *bus, const struct question *question,
                                  const char *name, void *data)
{
    struct machined_op *op = ALLOC_NEW(struct machined_op);

    op->bus = bus;
    op->question = question;
    op->name = alloc_strdup(name);
    op->data = data;
    op->call = bus_op_call(bus, &manager, question->method, on_object, op, "s", name);
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
    op->call = bus_op_free(op->call);
    free(op->name);
    free(op);
    return NULL;
}
