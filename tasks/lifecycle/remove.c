/* Removing all that a task left or half made: units, slice, files. Every step takes what is not
 * there, so this flow also undoes a start that failed, and clears what an earlier one left. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/images/ephemeral_copy.h"
#include "tasks/lifecycle/task.h"
#include "tasks/network/task_network.h"
#include "tasks/nspawn/settings_file.h"

/* Of a worker: trees of any size are removed in that time, and what hangs does not hold a task. */
#define REMOVE_COPIES_SEC 60

static void on_step_done(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->op = NULL;
    if (fail != NULL)
        log_task_warn(task->spec.id, "%s: %s, ignoring", flow_step_name(task->flow),
                      fail_text(fail));
    flow_continue(task->flow);
}

/* The runtime directory is made first and removed last. */
static bool has_nothing_to_clear(const struct task *task)
{
    return task->state == TASK_STARTING && !runtime_dir_is_left_over(task->dir);
}

/* A container that still runs is killed: its orderly end was the business of a stop. */
int task_clear_container(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (has_nothing_to_clear(task))
        return 0;
    task->watch = unit_watch_free(task->watch);
    /* Killing nspawn itself would leave its copy of an ephemeral image; the stop that follows ends
     * nspawn in order. */
    if (task_kill_inside(task) >= 0)
        return 0;
    task->op = unit_kill(task->host->units, task->unit_name, "all", SIGKILL, on_step_done, task);
    return FLOW_WAIT;
}

int task_clear_unit(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (has_nothing_to_clear(task))
        return 0;
    task->op = unit_stop(task->host->units, task->unit_name, on_step_done, task);
    return FLOW_WAIT;
}

/* What the container said before it failed belongs to the task's log. */
static int finish_logs(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (task->logs == NULL)
        return 0;
    task_logs_finish(task->logs, on_step_done, task);
    return FLOW_WAIT;
}

int task_clear_holder(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (has_nothing_to_clear(task))
        return 0;
    task->logs = task_logs_free(task->logs);
    task->op = unit_stop(task->host->units, task->holder_name, on_step_done, task);
    return FLOW_WAIT;
}

int task_clear_slice(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (has_nothing_to_clear(task))
        return 0;
    task->op = unit_stop(task->host->units, task->slice, on_step_done, task);
    return FLOW_WAIT;
}

static int remove_copies(const void *image)
{
    return ephemeral_copy_remove(image);
}

static void on_copies_removed(int error, void *data)
{
    struct task *task = data;

    task->worker = NULL;
    if (error < 0)
        log_task_warn(task->spec.id, "cannot remove a copy of '%s', ignoring: %s", task->image,
                      strerror(-error));
    flow_continue(task->flow);
}

/* nspawn does that itself unless it was killed. */
static int clear_copies(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    bool is_other = task->config.image != NULL && task->config.ephemeral != TRISTATE_YES;
    if (task->image == NULL || is_other || !ephemeral_copy_exists(task->image))
        return 0;
    task->worker = worker_new(bus_event(task->host->bus), remove_copies, task->image,
                              REMOVE_COPIES_SEC, on_copies_removed, task);
    return task->worker != NULL ? FLOW_WAIT : 0;
}

static const struct flow_step remove_steps[] = {
    { "kill what still runs", task_clear_container },
    { "stop the unit", task_clear_unit },
    { "remove a copy of the image", clear_copies },
    { "finish the logs", finish_logs },
    { "stop the log unit", task_clear_holder },
    { "stop the slice", task_clear_slice },
    { "give the network back", task_network_clear },
    {},
};

static void leave(struct task *task)
{
    const struct task_host *host = task->host;

    task->flow = flow_free(task->flow);
    if (task->started_done != NULL)
        task_fail_start(task);
    task_answer_waiters(task);
    task_requests_answer(&task->stops, NULL);
    task_requests_answer(&task->destroys, NULL);
    host->gone(task, host->data);
}

static void on_removed(const struct fail *fail, void *data)
{
    struct task *task = data;

    (void)fail; /* no step of this flow fails */
    settings_file_remove(task->machine);
    runtime_dir_remove(task->dir);
    log_task_debug(task->spec.id, "removed");
    leave(task);
}

void task_remove(struct task *task)
{
    if (task->state != TASK_REMOVING)
        task_set_state(task, TASK_REMOVING);
    task->op = unit_op_free(task->op);
    task_end_freeze(task);
    task_end_status(task);
    task->notify = notify_free(task->notify);
    task->worker = worker_free(task->worker);
    task->init = init_link_free(task->init);
    task_network_drop(task);
    task->is_networkd_awaited = false;
    task->ownership = ownership_free(task->ownership);
    task->flow = flow_free(task->flow);
    if (task->dir == NULL) { /* never ours: nothing here is to be touched */
        leave(task);
        return;
    }
    task->flow = flow_start(bus_event(task->host->bus), remove_steps, on_removed, task);
}

/* --- a task that nobody knows ---------------------------------------------------------------- */

static void on_lost_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct task *task = data;
    CLEANUP_FREE char *id = dir != NULL ? runtime_dir_read_id(dir) : NULL;

    task->dir_op = NULL;
    if (fail != NULL && fail->error != -ENOENT)
        task_requests_answer(&task->destroys, fail);
    if (id != NULL && strcmp(id, task->spec.id) == 0)
        task->dir = dir;
    else
        runtime_dir_free(dir);
    task_remove(task);
}

void task_remove_lost(struct task *task)
{
    task->dir_op = runtime_dir_take(bus_event(task->host->bus), task->machine, false, on_lost_taken,
                                    task);
}
