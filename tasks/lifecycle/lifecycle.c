#include "tasks/lifecycle/lifecycle.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/lifecycle/drain.h"
#include "tasks/lifecycle/freeze.h"
#include "tasks/lifecycle/recover.h"
#include "tasks/lifecycle/remove.h"
#include "tasks/lifecycle/start.h"
#include "tasks/lifecycle/start_container.h"
#include "tasks/lifecycle/stop.h"
#include "tasks/lifecycle/voice.h"

static const struct lifecycle_args no_args = {};

/* --- the end of the container, and of the task ----------------------------------------------- */

/* What a container has while it lives. */
static void drop_container(struct task *task, const char *why)
{
    task->stop = stop_free(task->stop);
    task->voice = voice_free(task->voice);
    task->freeze = freeze_free(task->freeze, why);
    task->ownership = ownership_free(task->ownership);
}

static void handle_unit(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    if (task->unit.started_usec > 0)
        task->started_usec = task->unit.started_usec;
    if (task->unit.loaded && !unit_state_has_ended(&task->unit))
        return;
    drain_note_exit(task);
    task->leader = 0;
    task->leader_fd = close_fd(task->leader_fd);
    task_network_end(task->network);
    drop_container(task, "the task has ended");
    task_set_state(task, TASK_DRAINING);
    drain_begin(task);
}

/* `asker`: of a start that failed; may be NULL. */
static void begin_removal(struct task *task, struct task_asker *asker)
{
    task_network_drop(task->network);
    drop_container(task, "the task is being removed");
    task_set_state(task, TASK_REMOVING);
    task->removal = removal_new(task, asker);
}

static void handle_drained(struct task *task, const struct lifecycle_args *args)
{
    const struct task_exit *exit = &task->exit;

    (void)args;
    log_task_info(task->spec.id, "ended with code %d, signal %d%s%s%s", exit->exit_code,
                  exit->signal, exit->oom_killed ? ", out of memory" : "",
                  exit->error != NULL ? ": " : "", exit->error != NULL ? exit->error : "");
    task_set_state(task, TASK_EXITED);
    execs_end(&task->execs, "the task has ended");
    task_waiters_answer_later(&task->waiters);
    task_requests_answer(&task->stops, NULL);
    if (!STAILQ_EMPTY(&task->destroys))
        begin_removal(task, NULL);
}

/* Whoever waits for anything of it learns that there is no more to come. */
static void leave(struct task *task)
{
    const struct task_host *host = task->host;

    task_waiters_answer(&task->waiters);
    task_requests_answer(&task->stops, NULL);
    task_requests_answer(&task->destroys, NULL);
    host->gone(task, host->data);
}

static void handle_removed(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    removal_answer(task->removal, NULL);
    task->removal = removal_free(task->removal);
    leave(task);
}

static void handle_destroy_exited(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    begin_removal(task, NULL);
}

/* --- stops ----------------------------------------------------------------------------------- */

static void begin_stop(struct task *task)
{
    task_set_state(task, TASK_STOPPING);
    stop_begin(task->stop);
}

static void handle_stop(struct task *task, const struct lifecycle_args *args)
{
    task->stop = stop_new(task, args->signal, args->usec);
    begin_stop(task);
}

static void kill_now(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    handle_stop(task, &(const struct lifecycle_args){ .signal = SIGKILL });
}

static void handle_stop_again(struct task *task, const struct lifecycle_args *args)
{
    if (args->usec == 0)
        stop_hurry(task->stop);
}

static void handle_destroy_stopping(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    stop_hurry(task->stop);
}

/* Taken up when it runs; the newest counts, but a destroy before all. */
static void note_stop(struct task *task, const struct lifecycle_args *args)
{
    bool is_destroyed = !STAILQ_EMPTY(&task->destroys);

    task->stop = stop_free(task->stop);
    task->stop = is_destroyed ? stop_new(task, SIGKILL, 0)
                              : stop_new(task, args->signal, args->usec);
}

/* --- a start --------------------------------------------------------------------------------- */

static void fail_start(struct task *task, const struct fail *why)
{
    struct task_asker *asker = start_asker(task->start, why);

    task_set_exit_error(task, fail_text(&asker->fail));
    begin_removal(task, asker);
    task->start = start_free(task->start);
}

static void handle_start_failed(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    fail_start(task, NULL);
}

/* Nothing of it goes on from here; who asked for the start is told when all has been removed. */
static void cancel_start(struct task *task, const struct lifecycle_args *args)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)args;
    (void)fail_set(&fail, -ECANCELED, "the task was stopped while it started");
    fail_start(task, &fail);
}

static void enter_running(struct task *task)
{
    task_set_state(task, TASK_RUNNING);
    voice_follow_oom(task->voice);
}

static void handle_started(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    start_finish(task->start);
    enter_running(task);
    start_tell(task->start);
    task->start = start_free(task->start);
    handle_unit(task, NULL);
}

static void handle_progress(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    start_container_progress(task->start);
}

static void handle_leader(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    start_container_leader(task->start);
}

static void handle_network_failed(struct task *task, const struct lifecycle_args *args)
{
    start_container_fail(task->start, args->fail);
}

static void tell_network_failed(struct task *task, const struct lifecycle_args *args)
{
    task_tell(task, NULL, "%s", fail_text(args->fail));
}

/* --- a recovery ------------------------------------------------------------------------------ */

static void handle_unit_recovering(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    recovery_handle_unit(task->recovery);
}

/* Its end may have come while no plugin ran; else what was asked for meanwhile is done now. */
static void handle_recovered(struct task *task, const struct lifecycle_args *args)
{
    (void)args;
    recovery_answer(task->recovery, NULL);
    task->recovery = recovery_free(task->recovery);
    enter_running(task);
    if (task->stop != NULL)
        begin_stop(task);
    handle_unit(task, NULL);
}

/* What is there stays as it is; Nomad asks to destroy it. */
static void handle_not_recovered(struct task *task, const struct lifecycle_args *args)
{
    const struct fail *fail = recovery_failure(task->recovery);

    (void)args;
    recovery_answer(task->recovery, fail);
    task_set_exit_error(task, fail_text(fail));
    leave(task);
}

/* --- the table ------------------------------------------------------------------------------- */

typedef void (*handle_fn)(struct task *task, const struct lifecycle_args *args);

/* Without a function: heard too late, or too early, and of no meaning then. The ends of flows are
 * raised only while they go on, so they have one state each. */
static const handle_fn handlers[TASK_STATE_MAX][LIFECYCLE_EVENT_MAX] = {
    [TASK_STARTING] = {
        [LIFECYCLE_STOP] = cancel_start,
        [LIFECYCLE_DESTROY] = cancel_start,
        [LIFECYCLE_UNIT] = handle_progress,
        [LIFECYCLE_LEADER] = handle_leader,
        [LIFECYCLE_READY] = handle_progress,
        [LIFECYCLE_NETWORK] = handle_progress,
        [LIFECYCLE_NETWORK_FAILED] = handle_network_failed,
        [LIFECYCLE_STARTED] = handle_started,
        [LIFECYCLE_START_FAILED] = handle_start_failed,
    },
    [TASK_RECOVERING] = {
        [LIFECYCLE_STOP] = note_stop,
        [LIFECYCLE_DESTROY] = note_stop,
        [LIFECYCLE_UNIT] = handle_unit_recovering,
        [LIFECYCLE_NETWORK_FAILED] = tell_network_failed,
        [LIFECYCLE_RECOVERED] = handle_recovered,
        [LIFECYCLE_NOT_RECOVERED] = handle_not_recovered,
    },
    [TASK_RUNNING] = {
        [LIFECYCLE_STOP] = handle_stop,
        [LIFECYCLE_DESTROY] = kill_now,
        [LIFECYCLE_UNIT] = handle_unit,
        [LIFECYCLE_NETWORK_FAILED] = tell_network_failed,
    },
    [TASK_STOPPING] = {
        [LIFECYCLE_STOP] = handle_stop_again,
        [LIFECYCLE_DESTROY] = handle_destroy_stopping,
        [LIFECYCLE_UNIT] = handle_unit,
        [LIFECYCLE_NETWORK_FAILED] = tell_network_failed,
    },
    [TASK_DRAINING] = {
        [LIFECYCLE_DRAINED] = handle_drained, /* a destroy that came is taken up there */
    },
    [TASK_EXITED] = {
        [LIFECYCLE_DESTROY] = handle_destroy_exited,
    },
    [TASK_REMOVING] = {
        [LIFECYCLE_REMOVED] = handle_removed,
    },
};

void lifecycle_handle(struct task *task, enum lifecycle_event event,
                      const struct lifecycle_args *args)
{
    handle_fn handle = handlers[task->state][event];

    assert(handle != NULL || event < LIFECYCLE_STARTED);
    if (handle != NULL)
        handle(task, args != NULL ? args : &no_args);
}

/* --- what is asked for ----------------------------------------------------------------------- */

int lifecycle_start(struct task *task, task_started_fn done, void *data, struct fail *reterr)
{
    return start_new(task, done, data, &task->start, reterr);
}

int lifecycle_recover(struct task *task, const uint8_t *driver_state, size_t n_bytes,
                      task_done_fn done, void *data, struct fail *reterr)
{
    return recovery_new(task, driver_state, n_bytes, done, data, &task->recovery, reterr);
}

void lifecycle_remove_lost(struct task *task)
{
    task->removal = removal_new_lost(task);
}

int lifecycle_freeze(struct task *task, int signal, task_done_fn done, void *data,
                     struct fail *reterr)
{
    if (task->state != TASK_RUNNING && task->state != TASK_STOPPING)
        return fail_set(reterr, -ESRCH, "the task is %s, and can't be frozen or thawed",
                        task_state_name(task->state));
    if (signal == SIGSTOP && task->state == TASK_STOPPING)
        return fail_set(reterr, -EBUSY, "the task is being stopped, and can't be frozen");
    return freeze_ask(task, signal, done, data, reterr);
}

int lifecycle_exec(struct task *task, const struct exec_args *args,
                   const struct exec_events *events, void *data, struct exec **ret,
                   struct fail *reterr)
{
    if (task->state != TASK_RUNNING && task->state != TASK_STOPPING)
        return fail_set(reterr, -ESRCH, "the task is %s: nothing can be executed in it",
                        task_state_name(task->state));
    CLEANUP_FREE char *cgroup = task_unit_cgroup_path(task);
    const struct exec_place place = {
        .event = task_event_loop(task),
        .leader = task->leader,
        .leader_fd = task->leader_fd,
        .dir_fd = runtime_dir_fd(task->dir),
        .unit_cgroup = cgroup,
        .execs = &task->execs,
    };

    return exec_start(&place, args, events, data, ret, reterr);
}

struct task_waiter *lifecycle_wait(struct task *task, task_exited_fn done, void *data)
{
    struct task_waiter *waiter = task_waiters_add(&task->waiters, done, data);

    if (task->state == TASK_EXITED)
        task_waiters_answer_later(&task->waiters);
    return waiter;
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_network_changed(void *data)
{
    task_raise(data, LIFECYCLE_NETWORK, NULL);
}

static void on_network_failed(const struct fail *fail, void *data)
{
    task_raise(data, LIFECYCLE_NETWORK_FAILED, &(const struct lifecycle_args){ .fail = fail });
}

static void on_network_tells(const struct pairs *annotations, const char *text, void *data)
{
    task_tell(data, annotations, "%s", text);
}

static const struct task_network_events network_events = {
    .changed = on_network_changed,
    .failed = on_network_failed,
    .tell = on_network_tells,
};

struct task *lifecycle_new(const struct task_host *host, struct task_spec *spec,
                           enum task_state state)
{
    struct task *task = task_new(host, spec, state);

    task->network = task_network_new(&(const struct task_network_args){
        .bus = host->bus,
        .units = host->units,
        .networks = host->networks,
        .config = host->config,
        .task = task->spec.id,
        .machine = task->names.machine,
        .slice = task->names.slice,
        .events = &network_events,
        .data = task,
    });
    return task;
}

static void drop(struct task *task)
{
    execs_end(&task->execs, "the plugin is ending");
    task->start = start_free(task->start);
    task->recovery = recovery_free(task->recovery);
    task->removal = removal_free(task->removal);
    drop_container(task, "the plugin is ending");
}

void lifecycle_abandon(struct task *task)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)fail_set_recoverable(&fail, -ECANCELED, "the plugin is ending");
    if (task->start != NULL)
        task_asker_fail(start_asker(task->start, NULL), &fail);
    if (task->recovery != NULL)
        recovery_answer(task->recovery, &fail);
    if (task->removal != NULL)
        removal_answer(task->removal, &fail);
    drop(task);
    task_requests_answer(&task->stops, &fail);
    task_requests_answer(&task->destroys, &fail);
}

struct task *lifecycle_free(struct task *task)
{
    if (task != NULL)
        drop(task);
    return task_free(task);
}
