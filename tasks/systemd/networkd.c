#include "tasks/systemd/networkd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"

#define NETWORKD_SERVICE "org.freedesktop.network1"
#define NETWORKD_PATH    "/org/freedesktop/network1"
#define NETWORKD_MANAGER "org.freedesktop.network1.Manager"

/* systemd answers "inactive" where there is no such unit. */
static const struct bus_object networkd_unit = {
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1/unit/systemd_2dnetworkd_2eservice",
    "org.freedesktop.systemd1.Unit",
};

/* It takes no longer than to read some files; a start does not wait for one that hangs. */
#define RELOAD_USEC (5 * UINT64_C(1000000))

struct networkd_op {
    struct bus *bus;
    struct bus_op *call;
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

static void on_reloaded(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct networkd_op *op = data;

    (void)reply;
    op->call = NULL;
    if (error != NULL)
        log_warn("systemd-networkd did not read '%s': %s, ignoring", NETWORKD_FILE, error->message);
    end_op(op);
}

static int send_reload(struct networkd_op *op)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    sd_bus *bus = bus_get(op->bus);

    int r = bus == NULL ? -ENOTCONN
                        : sd_bus_message_new_method_call(bus, &m, NETWORKD_SERVICE, NETWORKD_PATH,
                                                         NETWORKD_MANAGER, "Reload");
    if (r >= 0)
        op->call = bus_op_send(op->bus, m, RELOAD_USEC, on_reloaded, op);
    return r;
}

static void on_state(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct networkd_op *op = data;
    const char *state = "";

    op->call = NULL;
    if (error == NULL && sd_bus_message_read(reply, "v", "s", &state) >= 0)
        op->runs = strcmp(state, "active") == 0;
    if (!op->runs || !op->is_reload || send_reload(op) < 0)
        end_op(op);
}

/* Of systemd, not of the owner of its name: after a restart of the bus it has none for a while, and
 * serves its links all the same. */
static struct networkd_op *op_new(struct bus *bus, bool is_reload, networkd_done_fn done,
                                  void *data)
{
    struct networkd_op *op = ALLOC_NEW(struct networkd_op);

    op->bus = bus;
    op->is_reload = is_reload;
    op->done = done;
    op->data = data;
    op->call = bus_op_get(bus, &networkd_unit, "ActiveState", on_state, op);
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
    op->call = bus_op_free(op->call);
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
