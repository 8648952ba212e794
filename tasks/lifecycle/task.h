/* One task of Nomad's: what it is, in which state, what belongs to it, and who waits for what of
 * it. Private to tasks/; the services see tasks/driver.h. Owner: the driver.
 *
 *     STARTING ──> RUNNING ──> STOPPING ──> DRAINING ──> EXITED ──> REMOVING
 *     RECOVERING ──^  └───────────────────────^
 *
 * What happens in a state when something is heard or asked: lifecycle.c, the one door. The flows
 * live in files of their own (start, recover, stop, drain, remove), own what only they need, and
 * raise an event when they have come to their end. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "tasks/exec/exec.h"
#include "tasks/lifecycle/task_answers.h"
#include "tasks/lifecycle/task_events.h"
#include "tasks/lifecycle/task_logs.h"
#include "tasks/mounts/ownership.h"
#include "tasks/network/networks.h"
#include "tasks/network/task_network.h"
#include "tasks/persist/runtime_dir.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_spec.h"
#include "tasks/systemd/unit.h"
#include "tasks/systemd/unit_watch.h"

enum task_state {
    TASK_STARTING,
    TASK_RECOVERING,
    TASK_RUNNING,
    TASK_STOPPING, /* a signal was sent, the kill timeout runs */
    TASK_DRAINING, /* the container has ended, its last output is moved */
    TASK_EXITED,   /* the result is known and can be asked for until the task is destroyed */
    TASK_REMOVING,
    TASK_STATE_MAX
};

const char *task_state_name(enum task_state state);

enum lifecycle_event {
    LIFECYCLE_STOP,           /* asked for: with `signal` and `usec` */
    LIFECYCLE_DESTROY,        /* asked for, and in task->destroys */
    LIFECYCLE_UNIT,           /* systemd has said something: task->unit */
    LIFECYCLE_LEADER,         /* nspawn has said who PID 1 inside is */
    LIFECYCLE_READY,          /* nspawn has set up the container */
    LIFECYCLE_NETWORK,        /* what a start waits for of it has come */
    LIFECYCLE_NETWORK_FAILED, /* with `fail` */
    LIFECYCLE_STARTED,        /* the flows' ends */
    LIFECYCLE_START_FAILED,
    LIFECYCLE_RECOVERED,
    LIFECYCLE_NOT_RECOVERED,
    LIFECYCLE_DRAINED,
    LIFECYCLE_REMOVED,
    LIFECYCLE_EVENT_MAX
};

struct lifecycle_args {
    int signal; /* 0: the way that suits the container */
    uint64_t usec;
    const struct fail *fail;
};

struct task;

/* What the driver lends to its tasks. */
struct task_host {
    struct bus *bus;
    struct units *units;
    struct task_events *events;
    struct networks *networks;
    const struct plugin_config *config; /* as it is now */
    /* The door: lifecycle_handle. `args` may be NULL where the event has none. */
    void (*raise)(struct task *task, enum lifecycle_event event, const struct lifecycle_args *args);
    /* The task has been removed (or never became one) and is to be freed and forgotten. */
    void (*gone)(struct task *task, void *data);
    void *data;
};

struct task {
    LIST_ENTRY(task) entry;
    const struct task_host *host;
    enum task_state state;
    struct task_spec spec;
    struct task_names {
        char *machine, *unit, *holder, *slice; /* machined's, systemd's */
    } names;

    /* What runs: from the options at the start, from Nomad's driver state when recovered. */
    char *image;
    bool is_booted, is_under_init;
    bool has_no_copy; /* known not to be ephemeral */
    char *invocation_id;
    uid_t uid_base;
    struct strv shifted_dirs;
    uint64_t started_usec, completed_usec; /* CLOCK_REALTIME */

    /* What it has on the host. */
    struct unit_watch *watch;
    struct unit_state unit;
    pid_t leader;  /* 0: not known */
    int leader_fd; /* its pidfd; negative: not known */
    struct runtime_dir *dir;
    struct task_logs *logs;
    struct task_network *network;
    struct ownership *ownership;
    struct execs execs;

    /* What goes on: owned by the files of these names; NULL: nothing of the kind. */
    struct start *start;
    struct recovery *recovery;
    struct stop *stop;
    struct removal *removal;
    struct voice *voice;
    struct freeze *freeze;

    /* The end, and who waits for it. */
    struct task_exit exit; /* its error is owned */
    struct task_waiters waiters;
    struct task_requests stops, destroys;
};

/* Takes the content of `spec`, which has an id, a name and an alloc id. */
struct task *task_new(const struct task_host *host, struct task_spec *spec, enum task_state state);
/* What goes on must have been ended before (lifecycle_free). */
struct task *task_free(struct task *task);

sd_event *task_event_loop(const struct task *task);

/* Legal successors are asserted here. */
void task_set_state(struct task *task, enum task_state state);
bool task_is_alive(const struct task *task); /* the container runs, or may */
void task_raise(struct task *task, enum lifecycle_event event, const struct lifecycle_args *args);

/* The directory of the task's slice in the cgroup tree, which outlives the unit; heap. NULL: this
 * host has no cgroup v2. */
char *task_cgroup_path(const struct task *task);
/* That of the unit, in the same way. */
char *task_unit_cgroup_path(const struct task *task);
/* Nomad's directory of the task on the host; heap. */
char *task_dir_path(const struct task *task);

/* From now on what systemd says of the unit is in task->unit, and raises LIFECYCLE_UNIT. */
void task_watch_unit(struct task *task);
/* Who the leader is; 0: nobody knows. */
void task_note_leader(struct task *task, pid_t leader);

/* Says something about the task to its job's author. Annotations may be NULL. */
void task_tell(const struct task *task, const struct pairs *annotations, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void task_tell_not_executed(const struct task *task, const char *command, const char *reason);

/* Sets the result once. */
void task_set_exit_error(struct task *task, const char *error);
