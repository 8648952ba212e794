/* One task of Nomad's: what it is, in which state, and who waits for what of it. Private to tasks/;
 * the services see tasks/driver.h. Owner: the driver.
 *
 *     STARTING ──> RUNNING ──> STOPPING ──> DRAINING ──> EXITED ──> REMOVING
 *     RECOVERING ──^  └───────────────────────^
 *
 * The flows live in files of their own: start.c, recover.c, stop.c, drain.c, remove.c. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "reactor/flow.h"
#include "reactor/worker.h"
#include "tasks/driver.h"
#include "tasks/exec/exec_scope.h"
#include "tasks/inside/init_link.h"
#include "tasks/kernel/address_watch.h"
#include "tasks/lifecycle/task_logs.h"
#include "tasks/mounts/ownership.h"
#include "tasks/mounts/task_dirs.h"
#include "tasks/network/networks.h"
#include "tasks/network/port_proxies.h"
#include "tasks/nspawn/notify.h"
#include "tasks/persist/runtime_dir.h"
#include "tasks/resources/oom.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"
#include "tasks/systemd/machined.h"
#include "tasks/systemd/networkd.h"
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

struct task;

/* Who waits for one task to get somewhere: a stop, a destroy. */
struct task_request {
    STAILQ_ENTRY(task_request) entry;
    driver_done_fn done;
    void *data;
};
STAILQ_HEAD(task_requests, task_request);

void task_requests_add(struct task_requests *requests, driver_done_fn done, void *data);
/* Answers all that were there when it was called. */
void task_requests_answer(struct task_requests *requests, const struct fail *fail);

/* What the driver lends to its tasks. */
struct task_host {
    struct bus *bus;
    struct units *units;
    struct task_events *events;
    struct networks *networks;
    const struct plugin_config *config; /* as it is now */
    /* The task has been removed (or never became one) and is to be freed and forgotten. */
    void (*gone)(struct task *task, void *data);
    void *data;
};

struct task {
    LIST_ENTRY(task) entry;
    const struct task_host *host;
    enum task_state state;
    struct task_spec spec;
    char *machine, *unit_name, *holder_name, *slice;

    /* What runs: from the config at the start, from Nomad's driver state when recovered. */
    struct task_options config; /* empty when recovered */
    char *image;
    bool is_booted, is_under_init;
    char *invocation_id;
    uid_t uid_base;
    struct strv shifted_dirs;
    pid_t leader;  /* 0: not known */
    int leader_fd; /* its pidfd; negative: not known */

    struct flow *flow;
    struct runtime_dir *dir;
    struct runtime_dir_op *dir_op;
    struct machined_op *machined;
    struct unit_op *op;
    struct unit_watch *watch;
    struct unit_state unit;
    struct notify *notify;
    struct init_link *init;
    char *seccomp_key; /* NULL: the cache has nothing to do with this start */
    bool seccomp_cached;
    struct worker *worker; /* a step of a flow that blocks: the flow waits for it */
    struct oom_watch *oom;
    sd_event_source *oom_survived;
    struct task_dirs dirs;
    struct ownership *ownership;
    struct task_logs *logs;

    /* Network (task_network.c). */
    struct network_plan plan; /* empty when recovered */
    char *veth;               /* our name for the host's end of the link; NULL: nspawn's own */
    bool has_resolver;        /* /etc/resolv.conf inside is a file of ours */
    bool is_addressed, is_published, is_proxied, is_networkd_awaited;
    int netns_fd; /* while its addresses are followed */
    char host_link[IFNAMSIZ];
    struct address_watch *addresses;
    struct packet_filter_op *publishing;
    struct port_proxies *proxies;
    struct networkd_op *networkd;
    sd_event_source *address_timer;

    /* Start and recovery: what is still waited for, and who for. */
    struct bus_watch *bus_watch;
    sd_event_source *bus_deadline;
    bool is_ready_told; /* what runs inside has said that it is ready */
    char *status_text; /* the newest that was not told */
    uint64_t status_told_usec; /* CLOCK_MONOTONIC */
    sd_event_source *status_timer;
    bool is_ready, is_held, is_started, is_awaited;
    bool is_executed;  /* of a single process: its init has said how it went */
    int execute_error; /* negative errno: the command could not be executed */
    struct fail fail;
    driver_started_fn started_done;
    driver_done_fn recovered_done;
    void *done_data;

    /* Stop. */
    int stop_signal; /* 0: the way that suits the container */
    uint64_t stop_usec;
    unsigned stop_stage;
    bool is_killed; /* SIGKILL was sent by us */
    struct unit_op *freeze; /* or thaw */
    sd_event_source *stop_timer;
    struct task_requests stops, destroys, freezes;

    /* Commands executed in it (exec.c), and what is left of their cgroups. */
    LIST_HEAD(, exec) execs;
    struct exec_scopes exec_scopes;

    /* The end. */
    struct task_exit exit;
    char *exit_error;
    uint64_t started_usec, completed_usec; /* CLOCK_REALTIME */
    LIST_HEAD(, task_waiter) waiters;
    sd_event_source *answer;
    sd_event_source *settle; /* once after the start: early failures are no longer looked for */
};

/* Takes the content of `spec`, which has an id, a name and an alloc id. */
struct task *task_new(const struct task_host *host, struct task_spec *spec, enum task_state state);
struct task *task_free(struct task *task);

/* The one door: legal successors are asserted here, and what belongs to entering a state is
 * done. */
void task_set_state(struct task *task, enum task_state state);
bool task_is_alive(const struct task *task); /* the container runs, or may */

/* The directory of the task's slice in the cgroup tree, which outlives the unit; heap. NULL: this
 * host has no cgroup v2. */
char *task_cgroup_path(const struct task *task);

/* That of the unit, in the same way. */
char *task_unit_cgroup_path(const struct task *task);

/* Says something about the task to its job's author. Annotations may be NULL. */
void task_tell(const struct task *task, const struct pairs *annotations, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void task_tell_not_executed(const struct task *task, const char *command, const char *reason);

struct task_waiter *task_wait(struct task *task, task_exited_fn done, void *data);
/* Tells all that wait of task->exit, now. */
void task_answer_waiters(struct task *task);

/* Sets the result once; `error` may be NULL. */
void task_set_exit_error(struct task *task, const char *error);

/* The flows; each is begun in the state that its name says and goes on by itself. */
void task_start(struct task *task);
/* An error ends it at once: nothing was begun. */
int task_recover(struct task *task, const uint8_t *driver_state, size_t n_bytes,
                 struct fail *reterr);
/* In any state in which the task is alive; one that starts is given up. */
void task_stop(struct task *task, int signal, uint64_t timeout_usec);
int task_signal(struct task *task, int signal, struct fail *reterr);
/* The container ends: whoever waits for that is told so. */
void task_end_freeze(struct task *task);
/* Kills all processes of the container but nspawn. -ENOENT: there are none, or the kernel can't. */
int task_kill_inside(const struct task *task);
/* SIGSTOP or SIGCONT: the container as a whole. An error: `done` is not called. */
int task_freeze(struct task *task, int signal, driver_done_fn done, void *data,
                struct fail *reterr);
void task_drain(struct task *task);
void task_remove(struct task *task);
/* In state REMOVING from its birth: a task that nobody knows any more. What is there is removed if
 * it is of this very start. */
void task_remove_lost(struct task *task);
/* The plugin ends: whoever waits is told so. The container runs on. */
void task_abandon(struct task *task);

/* One more of the things for which a start waits has come. */
void task_start_progress(struct task *task);
/* Steps of flows that clear away what a task left (remove.c); none of them fails. In a start they
 * do nothing where an earlier one left nothing. */
int task_clear_container(void *task, struct fail *fail);
int task_clear_unit(void *task, struct fail *fail);
int task_clear_holder(void *task, struct fail *fail);
int task_clear_slice(void *task, struct fail *fail);
/* A start that failed has been cleared away: tell who asked for it. */
void task_fail_start(struct task *task);

/* Who the leader is; 0: nobody knows. */
void task_note_leader(struct task *task, pid_t leader);
/* Shared by start and recovery (voice.c): hear what nspawn says. */
int task_follow_notify(struct task *task, struct fail *reterr);
/* Hear of processes that the kernel kills for want of memory while the task goes on. */
void task_follow_oom(struct task *task);
/* No more of what it says is told. */
void task_end_status(struct task *task);
/* What the unit says once the task runs: the end of the container leads to task_drain. */
void task_handle_unit(struct task *task);
