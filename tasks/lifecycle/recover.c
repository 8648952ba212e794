#include "tasks/lifecycle/recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/flow.h"
#include "reactor/log.h"
#include "tasks/lifecycle/voice.h"
#include "tasks/persist/driver_state.h"
#include "tasks/systemd/machined.h"

struct recovery {
    struct task *task;
    struct flow *flow;
    struct runtime_dir_op *dir_op;
    struct machined_op *machined;
    bool is_unit_awaited;
    task_done_fn done; /* NULL: told */
    void *data;
    struct fail fail;
};

/* --- Nomad's record -------------------------------------------------------------------------- */

static int check_boot(const struct driver_state *state, struct fail *fail)
{
    char text[SD_ID128_STRING_MAX];
    sd_id128_t id;

    int r = sd_id128_get_boot(&id);
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot read the boot id: %s", strerror(-r));
    if (state->boot_id == NULL || strcmp(sd_id128_to_string(id, text), state->boot_id) != 0)
        return fail_set(fail, -ENOENT, "the host has been booted since the task was started");
    return 0;
}

static int take_state(struct task *task, const struct driver_state *state, struct fail *fail)
{
    if (strcmp(state->machine, task->names.machine) != 0)
        return fail_set(fail, -EINVAL, "the driver state is of machine '%s', the task's is '%s'",
                        state->machine, task->names.machine);
    int r = check_boot(state, fail);
    if (r < 0)
        return r;
    task->is_booted = state->boot;
    task->is_under_init = state->as_pid2;
    task->uid_base = state->uid_base;
    task->started_usec = state->started_usec;
    task->image = alloc_strdup(state->image);
    task->invocation_id = alloc_strdup(state->invocation_id);
    strv_copy(&task->shifted_dirs, &state->shifted_dirs);
    /* The agent keeps the task's config, but not all versions of it keep all of it. */
    if (task->spec.stdout_path == NULL)
        task->spec.stdout_path = alloc_strdup(state->stdout_path);
    if (task->spec.stderr_path == NULL)
        task->spec.stderr_path = alloc_strdup(state->stderr_path);
    return 0;
}

/* --- steps ----------------------------------------------------------------------------------- */

static void on_dir_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct recovery *recovery = data;
    CLEANUP_FAIL struct fail own = {};

    recovery->dir_op = NULL;
    recovery->task->dir = dir;
    if (fail == NULL) {
        flow_continue(recovery->flow);
        return;
    }
    if (fail->error == -ENOENT)
        (void)fail_set(&own, -ENOENT, "task not found for given id: it has been removed");
    flow_fail(recovery->flow, own.error < 0 ? &own : fail);
}

static int take_dir(void *data, struct fail *fail)
{
    struct recovery *recovery = data;
    const struct task *task = recovery->task;

    (void)fail;
    recovery->dir_op = runtime_dir_take(task_event_loop(task), task->names.machine, false,
                                        on_dir_taken, recovery);
    return FLOW_WAIT;
}

static int check_unit(const struct task *task, struct fail *fail)
{
    if (!task->unit.loaded)
        return fail_set(fail, -ENOENT, "task not found for given id: its unit '%s' is gone",
                        task->names.unit);
    if (strcmp(task->unit.invocation_id, task->invocation_id) != 0)
        return fail_set(fail, -ENOENT,
                        "task not found for given id: the unit '%s' is of another start",
                        task->names.unit);
    return 0;
}

void recovery_handle_unit(struct recovery *recovery)
{
    CLEANUP_FAIL struct fail fail = {};

    if (!recovery->is_unit_awaited)
        return;
    recovery->is_unit_awaited = false;
    if (check_unit(recovery->task, &fail) < 0)
        flow_fail(recovery->flow, &fail);
    else
        flow_continue(recovery->flow);
}

static int read_unit(void *data, struct fail *fail)
{
    struct recovery *recovery = data;

    (void)fail;
    recovery->is_unit_awaited = true;
    task_watch_unit(recovery->task);
    return FLOW_WAIT;
}

static void on_leader(pid_t leader, const struct fail *fail, void *data)
{
    struct recovery *recovery = data;
    struct task *task = recovery->task;

    recovery->machined = NULL;
    task_note_leader(task, leader);
    if (fail != NULL)
        log_task_warn(task->spec.id, "%s; until it is known, the task can only be killed",
                      fail_text(fail));
    flow_continue(recovery->flow);
}

static int find_leader(void *data, struct fail *fail)
{
    struct recovery *recovery = data;
    const struct task *task = recovery->task;

    (void)fail;
    if (unit_state_has_ended(&task->unit))
        return 0;
    recovery->machined = machined_find_leader(task->host->bus, task->names.machine, on_leader,
                                              recovery);
    return FLOW_WAIT;
}

static int follow_output(void *data, struct fail *fail)
{
    const struct recovery *recovery = data;
    struct task *task = recovery->task;
    struct task_logs_args args = {
        .task = task->spec.id,
        .dir_fd = runtime_dir_fd(task->dir),
        .stdout_path = task->spec.stdout_path,
        .stderr_path = task->spec.stderr_path,
        .holder = task->names.holder,
        .slice = task->names.slice,
        .recovered = true,
    };

    int r = task_logs_new(task->host->units, &args, &task->logs, fail);
    return r < 0 ? r : voice_new(task, true, &task->voice, fail);
}

static void on_owned(const struct fail *fail, void *data)
{
    const struct task *task = data;

    if (fail != NULL)
        log_task_warn(task->spec.id, "files in the task's directories may not be readable: %s",
                      fail_text(fail));
}

/* The task runs on whatever becomes of this. */
static int follow_dirs(void *data, struct fail *fail)
{
    const struct recovery *recovery = data;
    struct task *task = recovery->task;
    CLEANUP_FAIL struct fail own = {};

    (void)fail;
    if (task->shifted_dirs.n_items > 0 && !unit_state_has_ended(&task->unit) &&
        ownership_new(task_event_loop(task), &task->shifted_dirs, task->uid_base, on_owned, task,
                      &task->ownership, &own) < 0)
        on_owned(&own, task);
    return 0;
}

/* Nobody hears any more what an earlier plugin executed. */
static int clear_execs(void *data, struct fail *fail)
{
    const struct recovery *recovery = data;
    struct task *task = recovery->task;
    CLEANUP_FREE char *path = task_unit_cgroup_path(task);

    (void)fail;
    if (path != NULL)
        exec_scopes_clear(task_event_loop(task), path, &task->execs.scopes);
    return 0;
}

static int follow_network(void *data, struct fail *fail)
{
    const struct recovery *recovery = data;
    const struct task *task = recovery->task;

    (void)fail;
    if (!unit_state_has_ended(&task->unit))
        task_network_follow(task->network, task->leader);
    return 0;
}

static const struct flow_step recover_steps[] = {
    { "take the runtime directory", take_dir }, { "read the unit", read_unit },
    { "end what was executed", clear_execs },   { "find the leader", find_leader },
    { "follow the output", follow_output },     { "follow the directories", follow_dirs },
    { "follow the network", follow_network },   {},
};

/* --- life ------------------------------------------------------------------------------------ */

static void on_steps_done(const struct fail *fail, void *data)
{
    struct recovery *recovery = data;
    struct task *task = recovery->task;

    recovery->flow = flow_free(recovery->flow);
    if (fail != NULL)
        fail_copy(&recovery->fail, fail);
    else
        log_task_info(task->spec.id, "recovered as machine '%s'", task->names.machine);
    task_raise(task, fail != NULL ? LIFECYCLE_NOT_RECOVERED : LIFECYCLE_RECOVERED, NULL);
}

int recovery_new(struct task *task, const uint8_t *driver_state, size_t n_bytes, task_done_fn done,
                 void *data, struct recovery **ret, struct fail *reterr)
{
    CLEANUP(driver_state_done) struct driver_state state = {};

    int r = driver_state_decode(&state, driver_state, n_bytes, reterr);
    if (r >= 0)
        r = take_state(task, &state, reterr);
    if (r < 0)
        return r;
    struct recovery *recovery = ALLOC_NEW(struct recovery);
    recovery->task = task;
    recovery->done = done;
    recovery->data = data;
    recovery->flow = flow_start(task_event_loop(task), recover_steps, on_steps_done, recovery);
    *ret = recovery;
    return 0;
}

void recovery_answer(struct recovery *recovery, const struct fail *fail)
{
    task_done_fn done = TAKE_PTR(recovery->done);

    if (done != NULL)
        done(fail, recovery->data);
}

const struct fail *recovery_failure(const struct recovery *recovery)
{
    return &recovery->fail;
}

struct recovery *recovery_free(struct recovery *recovery)
{
    if (recovery == NULL)
        return NULL;
    recovery->flow = flow_free(recovery->flow);
    recovery->dir_op = runtime_dir_op_free(recovery->dir_op);
    recovery->machined = machined_op_free(recovery->machined);
    fail_done(&recovery->fail);
    free(recovery);
    return NULL;
}
