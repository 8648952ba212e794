/* Finding a task again after the plugin or the agent was restarted. Everything is where it was:
 * the unit with systemd, the FIFOs and their names in the runtime directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/lifecycle/task.h"
#include "tasks/network/task_network.h"
#include "tasks/persist/driver_state.h"

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
    if (strcmp(state->machine, task->machine) != 0)
        return fail_set(fail, -EINVAL, "the driver state is of machine '%s', the task's is '%s'",
                        state->machine, task->machine);
    int r = check_boot(state, fail);
    if (r < 0)
        return r;
    task->is_booted = state->boot;
    task->is_ready_told = true; /* or may have been */
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
    struct task *task = data;
    CLEANUP_FAIL struct fail own = {};

    task->dir_op = NULL;
    task->dir = dir;
    if (fail == NULL) {
        flow_continue(task->flow);
        return;
    }
    if (fail->error == -ENOENT)
        (void)fail_set(&own, -ENOENT, "task not found for given id: it has been removed");
    flow_fail(task->flow, own.error < 0 ? &own : fail);
}

static int take_dir(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    task->dir_op = runtime_dir_take(bus_event(task->host->bus), task->machine, false, on_dir_taken,
                                    task);
    return FLOW_WAIT;
}

static int check_unit(const struct task *task, struct fail *fail)
{
    if (!task->unit.loaded)
        return fail_set(fail, -ENOENT, "task not found for given id: its unit '%s' is gone",
                        task->unit_name);
    if (strcmp(task->unit.invocation_id, task->invocation_id) != 0)
        return fail_set(fail, -ENOENT,
                        "task not found for given id: the unit '%s' is of another start",
                        task->unit_name);
    return 0;
}

static void on_unit_changed(const struct unit_state *state, void *data)
{
    struct task *task = data;
    CLEANUP_FAIL struct fail fail = {};

    task->unit = *state;
    if (task->state == TASK_RUNNING || task->state == TASK_STOPPING) {
        task_handle_unit(task);
    } else if (task->is_awaited) {
        task->is_awaited = false;
        if (check_unit(task, &fail) < 0)
            flow_fail(task->flow, &fail);
        else
            flow_continue(task->flow);
    }
}

static int read_unit(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    task->is_awaited = true;
    task->watch = unit_watch_new(task->host->bus, task->unit_name, on_unit_changed, task);
    return FLOW_WAIT;
}

static void on_leader(pid_t leader, const struct fail *fail, void *data)
{
    struct task *task = data;

    task->machined = NULL;
    task_note_leader(task, leader);
    if (fail != NULL)
        log_task_warn(task->spec.id, "%s; until it is known, the task can only be killed",
                      fail_text(fail));
    flow_continue(task->flow);
}

static int find_leader(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (unit_state_has_ended(&task->unit))
        return 0;
    task->machined = machined_find_leader(task->host->bus, task->machine, on_leader, task);
    return FLOW_WAIT;
}

static int follow(void *data, struct fail *fail)
{
    struct task *task = data;
    struct task_logs_args args = {
        .task = task->spec.id,
        .dir_fd = runtime_dir_fd(task->dir),
        .stdout_path = task->spec.stdout_path,
        .stderr_path = task->spec.stderr_path,
        .holder = task->holder_name,
        .slice = task->slice,
        .recovered = true,
    };

    int r = task_logs_new(task->host->units, &args, &task->logs, fail);
    return r < 0 ? r : task_follow_notify(task, fail);
}

static void on_owned(const struct fail *fail, void *data)
{
    struct task *task = data;

    if (fail != NULL)
        log_task_warn(task->spec.id, "files in the task's directories may not be readable: %s",
                      fail_text(fail));
}

/* The task runs on whatever becomes of this. */
static int follow_dirs(void *data, struct fail *fail)
{
    struct task *task = data;
    CLEANUP_FAIL struct fail own = {};

    (void)fail;
    if (task->shifted_dirs.n_items > 0 && !unit_state_has_ended(&task->unit) &&
        ownership_new(bus_event(task->host->bus), &task->shifted_dirs, task->uid_base, on_owned,
                      task, &task->ownership, &own) < 0)
        on_owned(&own, task);
    return 0;
}

/* Nobody hears any more what an earlier plugin executed. */
static int clear_execs(void *data, struct fail *fail)
{
    struct task *task = data;
    CLEANUP_FREE char *path = task_unit_cgroup_path(task);

    (void)fail;
    if (path != NULL)
        exec_scopes_clear(bus_event(task->host->bus), path, &task->exec_scopes);
    return 0;
}

static const struct flow_step recover_steps[] = {
    { "take the runtime directory", take_dir },
    { "read the unit", read_unit },
    { "end what was executed", clear_execs },
    { "find the leader", find_leader },
    { "follow the output", follow },
    { "follow the directories", follow_dirs },
    { "follow the network", task_network_follow },
    {},
};

static void finish_recovery(struct task *task, const struct fail *fail)
{
    driver_done_fn done = TAKE_PTR(task->recovered_done);
    const struct task_host *host = task->host;

    task->flow = flow_free(task->flow);
    done(fail, task->done_data);
    if (fail != NULL) { /* what is there stays as it is; Nomad asks to destroy it */
        task_set_exit_error(task, fail_text(fail));
        task_answer_waiters(task);
        task_requests_answer(&task->stops, NULL);
        task_requests_answer(&task->destroys, NULL);
        host->gone(task, host->data);
        return;
    }
    log_task_info(task->spec.id, "recovered as machine '%s'", task->machine);
    task_set_state(task, TASK_RUNNING);
    task_handle_unit(task);
}

static void on_recovered(const struct fail *fail, void *data)
{
    finish_recovery(data, fail);
}

int task_recover(struct task *task, const uint8_t *driver_state, size_t n_bytes,
                 struct fail *reterr)
{
    struct driver_state state = {};

    int r = driver_state_decode(&state, driver_state, n_bytes, reterr);
    if (r >= 0)
        r = take_state(task, &state, reterr);
    driver_state_done(&state);
    if (r < 0)
        return r;
    task->flow = flow_start(bus_event(task->host->bus), recover_steps, on_recovered, task);
    return 0;
}
