/* The task side of the plugin as the RPC services see it: values in, values out, no messages.
 * Owner: main. One driver a process.
 *
 * Every function with a `done` answers through it exactly once, later and never from inside the
 * call, unless an op is returned and freed first. Pointers given to `done` live until it
 * returns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "reactor/bus.h"
#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/exec/exec.h"
#include "tasks/fingerprint/fingerprint.h"
#include "tasks/lifecycle/task_answers.h"
#include "tasks/lifecycle/task_events.h"
#include "tasks/resources/stats.h"
#include "tasks/spec/task_spec.h"

struct driver;

struct driver *driver_new(struct bus *bus);
/* Tasks run on; their runtime state is let go. */
struct driver *driver_free(struct driver *driver);
/* The loop that it runs in; borrowed. */
sd_event *driver_event(const struct driver *driver);

/* --- configuration --------------------------------------------------------------------------- */

/* The agent's plugin block as msgpack (may be empty). Replaces the configuration as a whole; on
 * error nothing changes. */
int driver_set_config(struct driver *driver, const uint8_t *msgpack, size_t n_bytes,
                      struct fail *reterr);

/* Node topology (SetConfig's nomad_config), for ticks: MHz of one core, 0 when not told. */
void driver_set_core_mhz(struct driver *driver, double mhz);

/* --- fingerprint ----------------------------------------------------------------------------- */

/* The state now (as soon as it is known, at once from the loop) and each change after it. */
struct fingerprint_watch *driver_watch_fingerprint(struct driver *driver,
                                                   driver_fingerprint_fn changed, void *data);

/* --- tasks ----------------------------------------------------------------------------------- */

enum task_phase { TASK_PHASE_UNKNOWN, TASK_PHASE_RUNNING, TASK_PHASE_EXITED, TASK_PHASE_MAX };

/* Takes the content of `spec`. -EEXIST for an id that runs. Goes on when nobody waits for it. */
void driver_start_task(struct driver *driver, struct task_spec *spec, task_started_fn done,
                       void *data);
/* Takes the content of `spec`, whose `config` is usually empty here. -ENOENT: no such unit. */
void driver_recover_task(struct driver *driver, struct task_spec *spec, const uint8_t *driver_state,
                         size_t n_bytes, task_done_fn done, void *data);

/* Answered when the task has ended and its output is with Nomad; also afterwards, until it is
 * destroyed. Freeing the waiter cancels; after `done` it is gone by itself. */
int driver_wait_task(struct driver *driver, const char *id, task_exited_fn done, void *data,
                     struct task_waiter **ret, struct fail *reterr);

/* Unknown, ended, starting and stopping tasks are answered at once; a running one when it has
 * ended, or a second after the timeout at the latest. `signal`: name or NULL/"" for the driver's
 * own. */
void driver_stop_task(struct driver *driver, const char *id, uint64_t timeout_usec,
                      const char *signal, task_done_fn done, void *data);
/* Removes all that is left of a task. Unknown ids: done. */
void driver_destroy_task(struct driver *driver, const char *id, bool force, task_done_fn done,
                         void *data);
/* SIGSTOP and SIGCONT freeze and thaw the whole container. */
void driver_signal_task(struct driver *driver, const char *id, const char *signal,
                        task_done_fn done, void *data);

struct task_status {
    const char *id, *name;
    enum task_phase phase;
    uint64_t started_usec, completed_usec; /* CLOCK_REALTIME; 0: not yet */
    struct task_exit exit;
    const struct pairs *attributes; /* borrowed */
};

/* The pointers in `ret` are valid until control returns to the loop. */
int driver_inspect_task(struct driver *driver, const char *id, struct task_status *ret,
                        struct fail *reterr);

/* --- exec ------------------------------------------------------------------------------------ */

/* Runs the command in the container as the task's user, with its environment and in its directory.
 * -ENOENT: no such task. -ESRCH: it does not run. -EINVAL: no command. */
int driver_exec_start(struct driver *driver, const char *id, const struct exec_args *args,
                      const struct exec_events *events, void *data, struct exec **ret,
                      struct fail *reterr);
/* --- statistics ------------------------------------------------------------------------------ */

/* A first sample at once from the loop, then one an interval; no more after the task ended. */
int driver_open_stats(struct driver *driver, const char *id, uint64_t interval_usec,
                      task_stats_fn sample, void *data, struct stats_stream **ret,
                      struct fail *reterr);

/* --- events ---------------------------------------------------------------------------------- */

/* Events from before the first watcher are kept (the newest TASK_EVENTS_KEPT_MAX) and given to
 * it. */
struct event_watch *driver_watch_events(struct driver *driver, task_event_fn event, void *data);
