/* Calls to systemd (org.freedesktop.systemd1) and its signals about one unit.
 *
 * An op survives the loss of the bus: it is sent again when the bus is back, and what was done
 * meanwhile counts. Exactly one of `done` or unit_op_free ends it; `done` is never called from
 * inside the function that makes the op. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "reactor/bus.h"
#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/systemd/unit_properties.h"

struct units; /* what all ops share: subscription and JobRemoved; owner: driver */

struct units *units_new(struct bus *bus);
struct units *units_free(struct units *units);
struct bus *units_bus(const struct units *units);

/* --- operations ------------------------------------------------------------------------------ */

struct unit_op;
typedef void (*unit_done_fn)(const struct fail *fail, void *data); /* NULL: success */

/* A transient service, which stays loaded with its result and its descriptors until it is stopped
 * (RemainAfterExit= in systemd.service(5)): the plugin may be away when its program ends. */
struct unit_service {
    const char *name, *description, *slice;
    const struct strv *argv;        /* argv[0] is the path */
    const struct strv *environment; /* of the program itself; "KEY=value"; NULL: none */
    int stdout_fd, stderr_fd;       /* borrowed; negative: the unit's default */
    bool oneshot;                   /* Type=oneshot, else simple */
    /* With OOMPolicy=continue; and KillMode=mixed, or a stop would send SIGTERM to the container's
     * own PID 1 as well, and to a systemd that means to execute itself anew (systemd(1)). */
    bool delegate;
    uint64_t stop_usec;             /* TimeoutStopUSec; 0: systemd's default */
    struct unit_properties *properties; /* what more is asked, taken; NULL: nothing */
};

/* Sockets on which systemd listens, and the service that is started, for want of it, when somebody
 * connects. Both are transient, and of the same name but for its end. */
struct unit_socket {
    const char *name, *description, *slice; /* "x.socket" */
    const struct strv *listen; /* as ListenStream=: "127.0.0.1:80" */
    const struct strv *argv;   /* of the service, which ends by itself when it has nothing to do */
};

/* Done when the start job is done: a simple service's program has been executed, a oneshot's has
 * ended well. -EEXIST: a unit of this name is loaded. */
struct unit_op *unit_start(struct units *units, const struct unit_service *service,
                           unit_done_fn done, void *data);
/* Done when systemd listens. -EEXIST as above; a port that is taken is "job failed". */
struct unit_op *unit_start_socket(struct units *units, const struct unit_socket *socket,
                                  unit_done_fn done, void *data);
/* Stop, wait for the job, forget a failure. A unit that is not loaded is stopped. */
struct unit_op *unit_stop(struct units *units, const char *name, unit_done_fn done, void *data);
/* `whom`: "main" or "all". A unit that is not loaded: done. */
struct unit_op *unit_kill(struct units *units, const char *name, const char *whom, int signal,
                          unit_done_fn done, void *data);
/* All processes of the unit are frozen, or run again. Done when systemd says that they are. */
struct unit_op *unit_freeze(struct units *units, const char *name, unit_done_fn done, void *data);
struct unit_op *unit_thaw(struct units *units, const char *name, unit_done_fn done, void *data);
struct unit_op *unit_op_free(struct unit_op *op);
