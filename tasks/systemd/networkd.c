#include "tasks/systemd/networkd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"

#define NETWORKD_SERVICE "org.freedesktop.network1"
#define NETWORKD_PATH    "/org/freedesktop/network1"
#define NETWORKD_MANAGER "org.freedesktop.network1.Manager"

/* "systemd-networkd.service"; systemd answers "inactive" where there is no such unit. */
#define NETWORKD_UNIT_PATH "/org/freedesktop/systemd1/unit/systemd_2dnetworkd_2eservice"

/* It takes no longer than to read some files; a start does not wait for one that hangs. */
#define RELOAD_USEC (5 * UINT64_C(1000000))

struct networkd_op {
    struct bus *bus;
    struct bus_watch *watch;
    sd_event_source *turn;
    sd_bus_slot *reply;
    bool is_reload, runs;
    networkd_done_fn done;
    void *data;
};

static void end_op(struct networkd_op *op)
{
    networkd_done_fn done = op->done;
    bool runs = op->runs;
    void *data = op->data;

    (void)networkd_op_free(op);
    done(runs, data);
}

static int on_reloaded(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct networkd_op *op = data;

    (void)error;
    if (sd_bus_message_is_method_error(message, NULL))
        log_warn("systemd-networkd did not read '%s': %s, ignoring", NETWORKD_FILE,
                 sd_bus_message_get_error(message)->message);
    end_op(op);
    return 0;
}

static int send_reload(struct networkd_op *op, sd_bus *bus)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    int r = sd_bus_message_new_method_call(bus, &m, NETWORKD_SERVICE, NETWORKD_PATH,
                                           NETWORKD_MANAGER, "Reload");
    if (r < 0)
        return r;
    op->reply = sd_bus_slot_unref(op->reply);
    return sd_bus_call_async(bus, &op->reply, m, on_reloaded, op, RELOAD_USEC);
}

static int on_state(sd_bus_message *message, void *data, sd_bus_error *error)
{
    struct networkd_op *op = data;
    const char *state = "";

    (void)error;
    if (!sd_bus_message_is_method_error(message, NULL) &&
        sd_bus_message_read(message, "v", "s", &state) >= 0)
        op->runs = strcmp(state, "active") == 0;
    if (!op->runs || !op->is_reload || send_reload(op, sd_bus_message_get_bus(message)) < 0)
        end_op(op);
    return 0;
}

/* Of systemd, not of the owner of its name: after a restart of the bus it has none for a while, and
 * serves its links all the same. */
static int on_turn(sd_event_source *source, void *data)
{
    struct networkd_op *op = data;
    sd_bus *bus = bus_get(op->bus);

    (void)source;
    int r = bus == NULL ? -ENOTCONN
                        : sd_bus_call_method_async(
                                  bus, &op->reply, "org.freedesktop.systemd1", NETWORKD_UNIT_PATH,
                                  "org.freedesktop.DBus.Properties", "Get", on_state, op, "ss",
                                  "org.freedesktop.systemd1.Unit", "ActiveState");
    if (r < 0)
        end_op(op);
    return 0;
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    (void)bus;
    if (!up)
        end_op(data);
}

static struct networkd_op *op_new(struct bus *bus, bool is_reload, networkd_done_fn done,
                                  void *data)
{
    struct networkd_op *op = ALLOC_NEW(struct networkd_op);

    op->bus = bus;
    op->is_reload = is_reload;
    op->done = done;
    op->data = data;
    op->watch = bus_watch_add(bus, on_bus_changed, op);
    int r = sd_event_add_defer(bus_event(bus), &op->turn, on_turn, op);
    assert(r >= 0);
    (void)sd_event_source_set_description(op->turn, "networkd-op");
    return op;
}

struct networkd_op *networkd_ask(struct bus *bus, networkd_done_fn done, void *data)
{
    return op_new(bus, false, done, data);
}

struct networkd_op *networkd_reload(struct bus *bus, networkd_done_fn done, void *data)
{
    return op_new(bus, true, done, data);
}

struct networkd_op *networkd_op_free(struct networkd_op *op)
{
    if (op == NULL)
        return NULL;
    op->reply = sd_bus_slot_unref(op->reply);
    op->turn = sd_event_source_disable_unref(op->turn);
    op->watch = bus_watch_free(op->watch);
    free(op);
    return NULL;
}

/* --- the file -------------------------------------------------------------------------------- */

static bool is_as_it_is(const char *text)
{
    CLEANUP_FREE char *there = NULL;

    return file_read(AT_FDCWD, NETWORKD_FILE, O_NOFOLLOW, strlen(text), &there, NULL) >= 0 &&
           strcmp(there, text) == 0;
}

int networkd_disown(const struct strv *names)
{
    CLEANUP_FREE char *joined = strv_join(names, " ");
    CLEANUP_FREE char *text = alloc_printf("# Written by nomad-driver-nspawn, whose links these "
                                           "are.\n[Match]\nName=%s\n\n[Link]\nUnmanaged=yes\n",
                                           joined);

    if (is_as_it_is(text))
        return 0;
    if (mkdir(NETWORKD_DIR, 0755) < 0 && errno != EEXIST)
        return -errno;
    int r = file_write(NETWORKD_FILE, text, strlen(text), 0644);
    return r < 0 ? r : 1;
}
