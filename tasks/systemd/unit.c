#include "tasks/systemd/unit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/systemd/unit_call.h"

enum op_state {
    OP_WAITS_FOR_BUS,
    OP_CALLED,       /* the reply is outstanding */
    OP_WAITS_FOR_JOB, /* the reply named a job */
    OP_ENDED,
    OP_STATE_MAX
};

enum op_kind { OP_START, OP_STOP, OP_RESET, OP_KILL, OP_FREEZE, OP_THAW, OP_KIND_MAX };

struct unit_op {
    LIST_ENTRY(unit_op) entry;
    struct units *units;
    enum op_kind kind;
    enum op_state state;
    char *name;
    /* Start: the message is kept, so that it can be sent again with its descriptors. */
    struct unit_call *call;
    bool was_lost; /* sent to a systemd or a bus that went away: it may have been done */
    char *job;
    struct bus_op *reply;
    struct fail fail;
    unit_done_fn done;
    void *data;
};

struct units {
    struct bus *bus;
    struct bus_watch *watch;
    sd_bus_slot *on_job_removed, *on_owner;
    struct bus_op *subscribe;
    sd_event_source *work; /* ends ops and sends those that wait */
    LIST_HEAD(, unit_op) ops;
};

/* --- operations ------------------------------------------------------------------------------ */

static void schedule(struct units *units)
{
    int r = sd_event_source_set_enabled(units->work, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static void end_op(struct unit_op *op)
{
    op->reply = bus_op_free(op->reply);
    op->state = OP_ENDED;
    schedule(op->units);
}

static void lose(struct unit_op *op)
{
    op->was_lost = true;
    op->state = OP_WAITS_FOR_BUS;
}

/* Nothing is left to be stopped, forgotten or killed. */
static bool is_gone(const sd_bus_error *error)
{
    return sd_bus_error_has_names(error, "org.freedesktop.systemd1.NoSuchUnit",
                                  "org.freedesktop.systemd1.NoSuchProcess");
}

static bool is_connection_error(const sd_bus_error *error)
{
    return sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_DISCONNECTED,
                                  SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                                  SD_BUS_ERROR_TIMEOUT);
}

static void send_op(struct unit_op *op);

/* Stopping leaves a failed unit loaded, with its name taken. */
static void continue_with_reset(struct unit_op *op)
{
    op->kind = OP_RESET;
    send_op(op);
}

static void handle_error(struct unit_op *op, const sd_bus_error *error)
{
    if (op->kind != OP_START && is_gone(error)) {
        end_op(op);
        return;
    }
    if (is_connection_error(error)) {
        /* Nothing is known of the call; it is made again when the bus or systemd is back: it is
         * never away for long, it re-executes. One that was too slow to answer may have been there
         * all the time: nobody would tell of its return. */
        lose(op);
        if (sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
            schedule(op->units);
        log_debug("unit '%s': %s; waiting for systemd", op->name, error->message);
        return;
    }
    if (op->kind == OP_START &&
        sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitExists")) {
        if (!op->was_lost)
            (void)fail_set(&op->fail, -EEXIST, "the unit '%s' exists already", op->name);
    } else {
        (void)fail_set(&op->fail, -sd_bus_error_get_errno(error), "systemd on '%s': %s", op->name,
                       error->message);
    }
    end_op(op);
}

static void await_job(struct unit_op *op, sd_bus_message *message)
{
    const char *job;

    int r = sd_bus_message_read(message, "o", &job);
    if (r < 0) {
        (void)fail_set(&op->fail, r, "systemd on '%s': its answer names no job", op->name);
        end_op(op);
        return;
    }
    free(op->job);
    op->job = alloc_strdup(job);
    op->state = OP_WAITS_FOR_JOB;
}

static void on_reply(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct unit_op *op = data;

    op->reply = NULL;
    if (error != NULL)
        handle_error(op, error);
    else if (op->kind == OP_START || op->kind == OP_STOP)
        await_job(op, reply);
    else
        end_op(op);
}

static int call_of(struct unit_op *op, sd_bus *bus, sd_bus_message **ret)
{
    switch (op->kind) {
    case OP_START:
        return unit_call_start(op->call, bus, ret);
    case OP_STOP:
        return unit_call_named(bus, "StopUnit", op->name, "replace", ret);
    case OP_RESET:
        return unit_call_named(bus, "ResetFailedUnit", op->name, NULL, ret);
    case OP_KILL:
        return unit_call_kill(op->call, bus, op->name, ret);
    case OP_FREEZE:
        return unit_call_named(bus, "FreezeUnit", op->name, NULL, ret);
    case OP_THAW:
        return unit_call_named(bus, "ThawUnit", op->name, NULL, ret);
    case OP_KIND_MAX:
        break;
    }
    return -EINVAL;
}

static void send_op(struct unit_op *op)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    sd_bus *bus = bus_get(op->units->bus);

    op->state = OP_WAITS_FOR_BUS;
    if (bus == NULL || sd_bus_is_ready(bus) <= 0) /* one that ends has not said so yet */
        return;
    int r = call_of(op, bus, &message);
    if (r < 0) {
        (void)fail_set(&op->fail, r, "cannot ask systemd about '%s': %s", op->name, strerror(-r));
        end_op(op);
        return;
    }
    op->reply = bus_op_send(op->units->bus, message, 0, on_reply, op);
    op->state = OP_CALLED;
}

static void job_ended(struct unit_op *op, const char *result)
{
    if (op->kind == OP_STOP) {
        continue_with_reset(op);
        return;
    }
    if (strcmp(result, "done") != 0)
        (void)fail_set(&op->fail, -EIO, "systemd could not start '%s': job %s", op->name, result);
    end_op(op);
}

static int on_job_removed(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct units *units = data;
    const char *job, *result;
    struct unit_op *op;

    (void)error;
    int r = sd_bus_message_read(message, "uoss", NULL, &job, NULL, &result);
    if (r < 0) {
        log_warn("cannot read JobRemoved: %s, ignoring", strerror(-r));
        return 0;
    }
    LIST_FOREACH(op, &units->ops, entry) {
        if (op->state == OP_WAITS_FOR_JOB && strcmp(op->job, job) == 0) {
            job_ended(op, result);
            break;
        }
    }
    return 0;
}

static struct unit_op *op_new(struct units *units, enum op_kind kind, const char *name,
                              unit_done_fn done, void *data)
{
    struct unit_op *op = ALLOC_NEW(struct unit_op);

    op->units = units;
    op->kind = kind;
    op->state = OP_WAITS_FOR_BUS;
    op->name = alloc_strdup(name);
    op->done = done;
    op->data = data;
    LIST_INSERT_HEAD(&units->ops, op, entry);
    schedule(units);
    return op;
}

struct unit_op *unit_start(struct units *units, const struct unit_service *service,
                           unit_done_fn done, void *data)
{
    struct unit_op *op = op_new(units, OP_START, service->name, done, data);

    op->call = unit_call_for_service(service, &op->fail);
    if (op->fail.error < 0)
        end_op(op);
    return op;
}

struct unit_op *unit_start_socket(struct units *units, const struct unit_socket *socket,
                                  unit_done_fn done, void *data)
{
    struct unit_op *op = op_new(units, OP_START, socket->name, done, data);

    op->call = unit_call_for_socket(socket);
    return op;
}

struct unit_op *unit_stop(struct units *units, const char *name, unit_done_fn done, void *data)
{
    return op_new(units, OP_STOP, name, done, data);
}

struct unit_op *unit_kill(struct units *units, const char *name, const char *whom, int signal,
                          unit_done_fn done, void *data)
{
    struct unit_op *op = op_new(units, OP_KILL, name, done, data);

    op->call = unit_call_for_kill(whom, signal);
    return op;
}

struct unit_op *unit_freeze(struct units *units, const char *name, unit_done_fn done, void *data)
{
    return op_new(units, OP_FREEZE, name, done, data);
}

struct unit_op *unit_thaw(struct units *units, const char *name, unit_done_fn done, void *data)
{
    return op_new(units, OP_THAW, name, done, data);
}

struct unit_op *unit_op_free(struct unit_op *op)
{
    if (op == NULL)
        return NULL;
    LIST_REMOVE(op, entry);
    op->reply = bus_op_free(op->reply);
    unit_call_free(op->call);
    fail_done(&op->fail);
    free(op->name);
    free(op->job);
    free(op);
    return NULL;
}

static void finish_op(struct unit_op *op)
{
    CLEANUP_FAIL struct fail fail = {};
    unit_done_fn done = op->done;
    void *data = op->data;

    fail_move(&fail, &op->fail);
    unit_op_free(op);
    done(fail.error < 0 ? &fail : NULL, data);
}

/* One op a turn: `done` may free any other. */
static int on_work(sd_event_source *source, void *data)
{
    struct units *units = data;
    struct unit_op *op;

    (void)source;
    LIST_FOREACH(op, &units->ops, entry)
        if (op->state == OP_WAITS_FOR_BUS && bus_get(units->bus) != NULL)
            send_op(op);
    LIST_FOREACH(op, &units->ops, entry) {
        if (op->state == OP_ENDED) {
            schedule(units);
            finish_op(op);
            break;
        }
    }
    return 0;
}

/* --- the bus comes and goes ------------------------------------------------------------------ */

static void on_subscribed(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct units *units = data;

    (void)reply;
    units->subscribe = NULL;
    if (error != NULL && !sd_bus_error_has_name(error, BUS_OP_GONE))
        log_warn("systemd refuses to tell of changes: %s", error->message);
}

/* systemd sends unit signals only while somebody is subscribed. */
static void subscribe(struct units *units)
{
    bus_op_free(units->subscribe);
    units->subscribe = bus_op_call(units->bus, &unit_call_manager, "Subscribe", on_subscribed,
                                   units, "");
}

/* What is under way is asked again; done meanwhile counts. */
static void restart_ops(struct units *units)
{
    struct unit_op *op;

    LIST_FOREACH(op, &units->ops, entry) {
        op->reply = bus_op_free(op->reply);
        if (op->state == OP_CALLED || op->state == OP_WAITS_FOR_JOB)
            lose(op);
    }
    schedule(units);
}

static int on_owner(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct units *units = data;
    const char *owner;

    (void)error;
    int r = sd_bus_message_read(message, "sss", NULL, NULL, &owner);
    if (r < 0 || owner[0] == '\0')
        return 0;
    subscribe(units);
    restart_ops(units);
    return 0;
}

static void connect_units(struct units *units)
{
    sd_bus *bus = bus_get(units->bus);

    int r = sd_bus_match_signal_async(bus, &units->on_job_removed, UNIT_CALL_SERVICE,
                                      UNIT_CALL_PATH, UNIT_CALL_MANAGER, "JobRemoved",
                                      on_job_removed, NULL, units);
    if (r >= 0)
        r = unit_call_match_owner(bus, &units->on_owner, on_owner, units);
    if (r < 0)
        log_warn("cannot hear systemd's signals: %s", strerror(-r));
    subscribe(units);
    schedule(units);
}

static void disconnect_units(struct units *units)
{
    units->on_job_removed = sd_bus_slot_unref(units->on_job_removed);
    units->on_owner = sd_bus_slot_unref(units->on_owner);
    units->subscribe = bus_op_free(units->subscribe);
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    struct units *units = data;

    (void)bus;
    if (up) {
        connect_units(units);
    } else {
        disconnect_units(units);
        restart_ops(units);
    }
}

struct units *units_new(struct bus *bus)
{
    struct units *units = ALLOC_NEW(struct units);

    units->bus = bus;
    LIST_INIT(&units->ops);
    int r = sd_event_add_defer(bus_event(bus), &units->work, on_work, units);
    assert(r >= 0);
    (void)sd_event_source_set_description(units->work, "unit-ops");
    r = sd_event_source_set_enabled(units->work, SD_EVENT_OFF);
    assert(r >= 0);
    units->watch = bus_watch_add(bus, on_bus_changed, units);
    return units;
}

struct units *units_free(struct units *units)
{
    if (units == NULL)
        return NULL;
    while (!LIST_EMPTY(&units->ops))
        unit_op_free(LIST_FIRST(&units->ops));
    disconnect_units(units);
    units->watch = bus_watch_free(units->watch);
    units->work = sd_event_source_disable_unref(units->work);
    free(units);
    return NULL;
}

struct bus *units_bus(const struct units *units)
{
    return units->bus;
}
