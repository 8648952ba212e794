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

enum driver_health { DRIVER_UNDETECTED, DRIVER_UNHEALTHY, DRIVER_HEALTHY, DRIVER_HEALTH_MAX };

struct driver_attribute {
    const char *key; /* "driver.nspawn.version" */
    const char *string; /* NULL: `boolean` counts */
    bool boolean;
};

struct driver_fingerprint {
    enum driver_health health;
    const char *description; /* "Healthy", or what is missing and what to do */
    const struct driver_attribute *attributes;
    size_t n_attributes;
};

struct fingerprint_watch;
typedef void (*driver_fingerprint_fn)(const struct driver_fingerprint *fingerprint, void *data);

/* The state now (as soon as it is known, at once from the loop) and each change after it. */
struct fingerprint_watch *driver_watch_fingerprint(struct driver *driver,
                                                   driver_fingerprint_fn changed, void *data);
struct fingerprint_watch *fingerprint_watch_free(struct fingerprint_watch *watch);

/* --- tasks ----------------------------------------------------------------------------------- */

struct task_exit {
    int exit_code;
    int signal;
    bool oom_killed;
    const char *error; /* a failure of the driver, not of the task; NULL: none */
};

enum task_phase { TASK_PHASE_UNKNOWN, TASK_PHASE_RUNNING, TASK_PHASE_EXITED, TASK_PHASE_MAX };

typedef void (*driver_done_fn)(const struct fail *fail, void *data); /* fail is NULL on success */

/* Where the task is reached, for services with address_mode = "driver". */
struct driver_network {
    const char *address; /* NULL: nothing is to be told, the network is the host's or Nomad's */
    const struct driver_network_port {
        const char *label;
        uint16_t port; /* inside */
    } *ports;
    size_t n_ports;
    bool auto_advertise; /* also for services that leave it to Nomad (address_mode = "auto") */
};

struct driver_started {
    const uint8_t *driver_state; /* what RecoverTask needs, to be kept by Nomad */
    size_t n_bytes;
    struct driver_network network;
};

/* `started` is NULL on failure. */
typedef void (*driver_started_fn)(const struct driver_started *started, const struct fail *fail,
                                  void *data);

/* Takes the content of `spec`. -EEXIST for an id that runs. Goes on when nobody waits for it. */
void driver_start_task(struct driver *driver, struct task_spec *spec, driver_started_fn done,
                       void *data);
/* Takes the content of `spec`, whose `config` is usually empty here. -ENOENT: no such unit. */
void driver_recover_task(struct driver *driver, struct task_spec *spec, const uint8_t *driver_state,
                         size_t n_bytes, driver_done_fn done, void *data);

struct task_waiter;
typedef void (*task_exited_fn)(const struct task_exit *exit, void *data);
/* Answered when the task has ended and its output is with Nomad; also afterwards, until it is
 * destroyed. Freeing the waiter cancels; after `done` it is gone by itself. */
int driver_wait_task(struct driver *driver, const char *id, task_exited_fn done, void *data,
                     struct task_waiter **ret, struct fail *reterr);
struct task_waiter *task_waiter_free(struct task_waiter *waiter);

/* Unknown, ended, starting and stopping tasks are answered at once; a running one when it has
 * ended, or a second after the timeout at the latest. `signal`: name or NULL/"" for the driver's
 * own. */
void driver_stop_task(struct driver *driver, const char *id, uint64_t timeout_usec,
                      const char *signal, driver_done_fn done, void *data);
/* Removes all that is left of a task. Unknown ids: done. */
void driver_destroy_task(struct driver *driver, const char *id, bool force, driver_done_fn done,
                         void *data);
/* SIGSTOP and SIGCONT freeze and thaw the whole container. */
void driver_signal_task(struct driver *driver, const char *id, const char *signal,
                        driver_done_fn done, void *data);

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

struct exec;

struct exec_args {
    const struct strv *argv;
    bool tty;              /* a terminal of the container for all three */
    uint64_t timeout_usec; /* then it is killed; 0: none */
};

enum exec_stream { EXEC_STDOUT, EXEC_STDERR, EXEC_STREAM_MAX };

/* All called from the loop. `output`: n is 0, once, at the end of that stream; with a tty all comes
 * on EXEC_STDOUT. `drained`: what was written to standard input has been taken. `ended` is the
 * last, after all output, and the exec is gone by itself: `fail` is NULL when the command was
 * executed, or could not be found or executed (which a shell would say with 127 and 126). The exec
 * is not to be freed in `output` and `drained`. */
struct exec_events {
    void (*output)(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data);
    void (*drained)(void *data);
    void (*ended)(const struct task_exit *exit, const struct fail *fail, void *data);
};

/* Runs the command in the container as the task's user, with its environment and in its directory.
 * -ENOENT: no such task. -ESRCH: it does not run. -EINVAL: no command. */
int driver_exec_start(struct driver *driver, const char *id, const struct exec_args *args,
                      const struct exec_events *events, void *data, struct exec **ret,
                      struct fail *reterr);
/* Kills what the command started and has not ended. */
struct exec *exec_free(struct exec *exec);
/* Answers how many bytes are queued now: the caller holds back what is more than it wants. */
size_t exec_write_stdin(struct exec *exec, const uint8_t *bytes, size_t n);
/* After what is queued. On a terminal: the end-of-file character. */
void exec_close_stdin(struct exec *exec);
void exec_resize(struct exec *exec, unsigned rows, unsigned columns);
/* Reads no output until it is to go on. */
void exec_pause_output(struct exec *exec, bool pause);

/* --- statistics ------------------------------------------------------------------------------ */

enum {
    TASK_STATS_CPU_SYSTEM = 1 << 0,
    TASK_STATS_CPU_USER = 1 << 1,
    TASK_STATS_CPU_TICKS = 1 << 2,
    TASK_STATS_CPU_THROTTLED_PERIODS = 1 << 3,
    TASK_STATS_CPU_THROTTLED_TIME = 1 << 4,
    TASK_STATS_CPU_PERCENT = 1 << 5,
    TASK_STATS_MEMORY_RSS = 1 << 6,
    TASK_STATS_MEMORY_CACHE = 1 << 7,
    TASK_STATS_MEMORY_MAX_USAGE = 1 << 8,
    TASK_STATS_MEMORY_USAGE = 1 << 9,
    TASK_STATS_MEMORY_SWAP = 1 << 10,
};

struct task_stats {
    uint64_t timestamp_usec; /* CLOCK_REALTIME */
    unsigned measured;       /* TASK_STATS_* that hold a value */
    double system_percent, user_percent, percent; /* 100: one core */
    double total_ticks;                            /* MHz */
    uint64_t throttled_periods, throttled_nsec;    /* cumulative */
    uint64_t rss_bytes, cache_bytes, usage_bytes, max_usage_bytes, swap_bytes;
};

struct stats_stream;
/* A first sample at once from the loop, then one an interval; no more after the task ended. */
typedef void (*task_stats_fn)(const struct task_stats *stats, void *data);
int driver_open_stats(struct driver *driver, const char *id, uint64_t interval_usec,
                      task_stats_fn sample, void *data, struct stats_stream **ret,
                      struct fail *reterr);
struct stats_stream *stats_stream_free(struct stats_stream *stream);

/* --- events ---------------------------------------------------------------------------------- */

struct task_event {
    const char *task_id, *alloc_id, *task_name;
    uint64_t timestamp_usec; /* CLOCK_REALTIME */
    const char *message;
    const struct pairs *annotations; /* may be NULL */
};

struct event_watch;
typedef void (*task_event_fn)(const struct task_event *event, void *data);
/* Events from before the first watcher are kept (the newest DRIVER_EVENTS_KEPT_MAX) and given to
 * it. */
struct event_watch *driver_watch_events(struct driver *driver, task_event_fn event, void *data);
struct event_watch *event_watch_free(struct event_watch *watch);

#define DRIVER_EVENTS_KEPT_MAX 256
