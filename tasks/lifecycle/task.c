#include "tasks/lifecycle/task.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/cgroup.h"
#include "tasks/nspawn/leader.h"
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

const char *task_state_name(enum task_state state)
{
    return task_states[state].name;
}

/* --- states ---------------------------------------------------------------------------------- */

bool task_is_alive(const struct task *task)
{
    return task->state < TASK_DRAINING;
}

char *task_cgroup_path(const struct task *task)
{
    CLEANUP_FREE char *group = alloc_printf("/nspawn.slice/%s", task->names.slice);

    return cgroup_path(group);
}

char *task_unit_cgroup_path(const struct task *task)
{
    CLEANUP_FREE char *slice = task_cgroup_path(task);

    return slice != NULL ? alloc_printf("%s/%s", slice, task->names.unit) : NULL;
}

char *task_dir_path(const struct task *task)
{
    return alloc_printf("%s/%s", task->spec.alloc_dir, task->spec.name);
}

sd_event *task_event_loop(const struct task *task)
{
    return bus_event(task->host->bus);
}

void task_set_state(struct task *task, enum task_state state)
{
    assert(task_states[task->state].successors & 1U << state);
    log_task_debug(task->spec.id, "%s -> %s", task_state_name(task->state), task_state_name(state));
    task->state = state;
}

void task_raise(struct task *task, enum lifecycle_event event, const struct lifecycle_args *args)
{
    task->host->raise(task, event, args);
}

/* --- the container --------------------------------------------------------------------------- */

static void on_unit(const struct unit_state *state, void *data)
{
    struct task *task = data;

    task->unit = *state;
    task_raise(task, LIFECYCLE_UNIT, NULL);
}

void task_watch_unit(struct task *task)
{
    task->watch = unit_watch_new(task->host->bus, task->names.unit, on_unit, task);
}

void task_note_leader(struct task *task, pid_t leader)
{
    task->leader = leader;
    if (leader <= 0 || task->leader_fd >= 0)
        return;
    int fd = leader_open(leader, task->unit.main_pid, task->names.unit);
    if (fd < 0)
        log_task_debug(task->spec.id, "leader %d: %s", (int)leader, strerror(-fd));
    else
        task->leader_fd = fd;
}

/* --- life ------------------------------------------------------------------------------------ */

struct task *task_new(const struct task_host *host, struct task_spec *spec, enum task_state state)
{
    struct task *task = ALLOC_NEW(struct task);

    task->host = host;
    task->state = state;
    task->leader_fd = -EBADF;
    task_spec_move(&task->spec, spec);
    task->names.machine = machine_name_make(task->spec.name, task->spec.alloc_id);
    task->names.unit = machine_name_unit(task->names.machine);
    task->names.holder = machine_name_logs_unit(task->names.machine);
    task->names.slice = machine_name_slice(task->names.machine);
    execs_init(&task->execs);
    STAILQ_INIT(&task->stops);
    STAILQ_INIT(&task->destroys);
    task_waiters_init(&task->waiters, task_event_loop(task), &task->exit);
    return task;
}

static void assert_idle(const struct task *task)
{
    assert(task->start == NULL && task->recovery == NULL && task->removal == NULL);
    assert(task->stop == NULL && task->voice == NULL && task->freeze == NULL);
    assert(STAILQ_EMPTY(&task->stops) && STAILQ_EMPTY(&task->destroys));
}

static void free_text(const char *text)
{
    free((char *)(uintptr_t)text);
}

struct task *task_free(struct task *task)
{
    if (task == NULL)
        return NULL;
    assert_idle(task);
    execs_done(&task->execs);
    task_waiters_done(&task->waiters);
    task->watch = unit_watch_free(task->watch);
    task->network = task_network_free(task->network);
    task->ownership = ownership_free(task->ownership);
    task->logs = task_logs_free(task->logs);
    task->dir = runtime_dir_free(task->dir);
    task->leader_fd = close_fd(task->leader_fd);
    strv_done(&task->shifted_dirs);
    free(task->names.machine);
    free(task->names.unit);
    free(task->names.holder);
    free(task->names.slice);
    free(task->image);
    free(task->invocation_id);
    free_text(task->exit.error);
    task_spec_done(&task->spec);
    free(task);
    return NULL;
}

void task_set_exit_error(struct task *task, const char *error)
{
    if (task->exit.error == NULL)
        task->exit.error = alloc_strdup(error);
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
