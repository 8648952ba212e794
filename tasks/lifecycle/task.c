#include "tasks/lifecycle/task.h"
#include "tasks/network/task_network.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/exec/exec.h"
#include "tasks/kernel/cgroup.h"
#include "tasks/lifecycle/task_events.h"
#include "tasks/spec/machine_name.h"

static const struct {
    const char *name;
    unsigned successors; /* bits of enum task_state */
} task_states[TASK_STATE_MAX] = {
    [TASK_STARTING] = { "starting", 1 << TASK_RUNNING | 1 << TASK_REMOVING },
    [TASK_RECOVERING] = { "recovering", 1 << TASK_RUNNING | 1 << TASK_DRAINING },
    [TASK_RUNNING] = { "running", 1 << TASK_STOPPING | 1 << TASK_DRAINING },
    [TASK_STOPPING] = { "stopping", 1 << TASK_DRAINING },
    [TASK_DRAINING] = { "draining", 1 << TASK_EXITED },
    [TASK_EXITED] = { "exited", 1 << TASK_REMOVING },
    [TASK_REMOVING] = { "removing", 0 },
};

struct task_waiter {
    LIST_ENTRY(task_waiter) entry;
    task_exited_fn done;
    void *data;
};

const char *task_state_name(enum task_state state)
{
    return task_states[state].name;
}

/* --- requests -------------------------------------------------------------------------------- */

void task_requests_add(struct task_requests *requests, driver_done_fn done, void *data)
{
    struct task_request *request = ALLOC_NEW(struct task_request);

    request->done = done;
    request->data = data;
    STAILQ_INSERT_TAIL(requests, request, entry);
}

void task_requests_answer(struct task_requests *requests, const struct fail *fail)
{
    struct task_requests taken = STAILQ_HEAD_INITIALIZER(taken);

    STAILQ_CONCAT(&taken, requests);
    while (!STAILQ_EMPTY(&taken)) {
        struct task_request *request = STAILQ_FIRST(&taken);
        driver_done_fn done = request->done;
        void *data = request->data;

        STAILQ_REMOVE_HEAD(&taken, entry);
        free(request);
        done(fail, data);
    }
}

/* --- waiting for the end --------------------------------------------------------------------- */

static void answer_later(struct task *task)
{
    int r = sd_event_source_set_enabled(task->answer, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

/* `done` may free any other waiter, so the list is begun anew each time. */
void task_answer_waiters(struct task *task)
{
    struct task_waiter *waiter;

    while ((waiter = LIST_FIRST(&task->waiters)) != NULL) {
        task_exited_fn done = waiter->done;
        void *data = waiter->data;

        task_waiter_free(waiter);
        done(&task->exit, data);
    }
}

static int on_answer(sd_event_source *source, void *data)
{
    (void)source;
    task_answer_waiters(data);
    return 0;
}

struct task_waiter *task_wait(struct task *task, task_exited_fn done, void *data)
{
    struct task_waiter *waiter = ALLOC_NEW(struct task_waiter);

    waiter->done = done;
    waiter->data = data;
    LIST_INSERT_HEAD(&task->waiters, waiter, entry);
    if (task->state == TASK_EXITED)
        answer_later(task);
    return waiter;
}

struct task_waiter *task_waiter_free(struct task_waiter *waiter)
{
    if (waiter == NULL)
        return NULL;
    LIST_REMOVE(waiter, entry);
    free(waiter);
    return NULL;
}

/* --- states ---------------------------------------------------------------------------------- */

bool task_is_alive(const struct task *task)
{
    return task->state < TASK_DRAINING;
}

char *task_cgroup_path(const struct task *task)
{
    CLEANUP_FREE char *group = alloc_printf("/nspawn.slice/%s", task->slice);

    return cgroup_path(group);
}

char *task_unit_cgroup_path(const struct task *task)
{
    CLEANUP_FREE char *slice = task_cgroup_path(task);

    return slice != NULL ? alloc_printf("%s/%s", slice, task->unit_name) : NULL;
}

static void enter_running(struct task *task)
{
    task_follow_oom(task);
    /* Asked for while it started. */
    if (!STAILQ_EMPTY(&task->destroys))
        task_stop(task, SIGKILL, 0);
    else if (!STAILQ_EMPTY(&task->stops))
        task_stop(task, task->stop_signal, task->stop_usec);
}

static void enter_exited(struct task *task)
{
    log_task_info(task->spec.id, "ended with code %d, signal %d%s%s%s", task->exit.exit_code,
                  task->exit.signal, task->exit.oom_killed ? ", out of memory" : "",
                  task->exit.error != NULL ? ": " : "",
                  task->exit.error != NULL ? task->exit.error : "");
    exec_end_all(task, "the task has ended");
    answer_later(task);
    task_requests_answer(&task->stops, NULL);
    if (!STAILQ_EMPTY(&task->destroys))
        task_remove(task);
}

void task_set_state(struct task *task, enum task_state state)
{
    assert(task_states[task->state].successors & 1U << state);
    log_task_debug(task->spec.id, "%s -> %s", task_state_name(task->state), task_state_name(state));
    task->state = state;
    if (state == TASK_RUNNING)
        enter_running(task);
    else if (state == TASK_EXITED)
        enter_exited(task);
}

/* --- life ------------------------------------------------------------------------------------ */

struct task *task_new(const struct task_host *host, struct task_spec *spec, enum task_state state)
{
    struct task *task = ALLOC_NEW(struct task);

    task->host = host;
    task->state = state;
    task->leader_fd = -EBADF;
    task->netns_fd = -EBADF;
    task_spec_move(&task->spec, spec);
    task->machine = machine_name_make(task->spec.name, task->spec.alloc_id);
    task->unit_name = machine_name_unit(task->machine);
    task->holder_name = machine_name_logs_unit(task->machine);
    task->slice = machine_name_slice(task->machine);
    LIST_INIT(&task->waiters);
    LIST_INIT(&task->execs);
    LIST_INIT(&task->exec_scopes);
    STAILQ_INIT(&task->stops);
    STAILQ_INIT(&task->destroys);
    STAILQ_INIT(&task->freezes);
    int r = sd_event_add_defer(bus_event(host->bus), &task->answer, on_answer, task);
    assert(r >= 0);
    r = sd_event_source_set_enabled(task->answer, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(task->answer, "task-answer");
    return task;
}

static void drop_activities(struct task *task)
{
    exec_end_all(task, "the plugin is ending");
    exec_scopes_done(&task->exec_scopes);
    task->flow = flow_free(task->flow);
    task_network_drop(task);
    task->networkd = networkd_op_free(task->networkd);
    task->bus_watch = bus_watch_free(task->bus_watch);
    task->bus_deadline = sd_event_source_disable_unref(task->bus_deadline);
    task->dir_op = runtime_dir_op_free(task->dir_op);
    task->machined = machined_op_free(task->machined);
    task->op = unit_op_free(task->op);
    task->freeze = unit_op_free(task->freeze);
    task->watch = unit_watch_free(task->watch);
    task->notify = notify_free(task->notify);
    task->worker = worker_free(task->worker);
    task->init = init_link_free(task->init);
    task_end_status(task);
    task->oom = oom_watch_free(task->oom);
    task->oom_survived = sd_event_source_disable_unref(task->oom_survived);
    task->ownership = ownership_free(task->ownership);
    task->logs = task_logs_free(task->logs);
    task->stop_timer = sd_event_source_disable_unref(task->stop_timer);
    task->answer = sd_event_source_disable_unref(task->answer);
    task->settle = sd_event_source_disable_unref(task->settle);
}

struct task *task_free(struct task *task)
{
    if (task == NULL)
        return NULL;
    drop_activities(task);
    assert(STAILQ_EMPTY(&task->stops) && STAILQ_EMPTY(&task->destroys));
    assert(STAILQ_EMPTY(&task->freezes));
    while (!LIST_EMPTY(&task->waiters))
        task_waiter_free(LIST_FIRST(&task->waiters));
    task->dir = runtime_dir_free(task->dir);
    task->leader_fd = close_fd(task->leader_fd);
    task_dirs_done(&task->dirs);
    task_options_done(&task->config);
    network_plan_done(&task->plan);
    free(task->veth);
    strv_done(&task->shifted_dirs);
    fail_done(&task->fail);
    free(task->machine);
    free(task->unit_name);
    free(task->holder_name);
    free(task->slice);
    free(task->image);
    free(task->seccomp_key);
    free(task->invocation_id);
    free(task->exit_error);
    task_spec_done(&task->spec);
    free(task);
    return NULL;
}

void task_abandon(struct task *task)
{
    driver_started_fn started_done = TAKE_PTR(task->started_done);
    driver_done_fn recovered_done = TAKE_PTR(task->recovered_done);
    CLEANUP_FAIL struct fail fail = {};

    drop_activities(task);
    (void)fail_set_recoverable(&fail, -ECANCELED, "the plugin is ending");
    if (started_done != NULL)
        started_done(NULL, &fail, task->done_data);
    if (recovered_done != NULL)
        recovered_done(&fail, task->done_data);
    task_requests_answer(&task->stops, &fail);
    task_requests_answer(&task->destroys, &fail);
    task_requests_answer(&task->freezes, &fail);
}

void task_set_exit_error(struct task *task, const char *error)
{
    if (task->exit_error != NULL)
        return;
    task->exit_error = alloc_strdup(error);
    task->exit.error = task->exit_error;
}

void task_tell(const struct task *task, const struct pairs *annotations, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CLEANUP_FREE char *message = alloc_vprintf(format, args);
    va_end(args);
    task_events_emit(task->host->events, &(const struct task_event){
                                             .task_id = task->spec.id,
                                             .alloc_id = task->spec.alloc_id,
                                             .task_name = task->spec.name,
                                             .message = message,
                                             .annotations = annotations,
                                         });
}

void task_tell_not_executed(const struct task *task, const char *command, const char *reason)
{
    struct pairs annotations = {};

    pairs_set(&annotations, "command", command);
    pairs_set(&annotations, "reason", reason);
    task_tell(task, &annotations, "Command \"%s\" cannot be executed in the container: %s", command,
              reason);
    pairs_done(&annotations);
}
