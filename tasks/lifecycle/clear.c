#include "tasks/lifecycle/clear.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/flow.h"
#include "reactor/log.h"
#include "reactor/worker.h"
#include "tasks/images/ephemeral_copy.h"
#include "tasks/lifecycle/task_kill.h"

/* Of a worker: trees of any size are removed in that time, and what hangs does not hold a task. */
#define CLEAR_COPIES_SEC 60

struct clear {
    struct task *task;
    struct flow *flow;
    struct unit_op *op;
    struct worker *worker;
    clear_done_fn done;
    void *data;
};

static void on_step_done(const struct fail *fail, void *data)
{
    struct clear *clear = data;

    clear->op = NULL;
    if (fail != NULL)
        log_task_warn(clear->task->spec.id, "%s: %s, ignoring", flow_step_name(clear->flow),
                      fail_text(fail));
    flow_continue(clear->flow);
}

/* A container that still runs is killed: its orderly end was the business of a stop. */
static int kill_container(void *data, struct fail *fail)
{
    struct clear *clear = data;
    struct task *task = clear->task;

    (void)fail;
    task->watch = unit_watch_free(task->watch);
    /* Killing nspawn itself would leave its copy of an ephemeral image; the stop that follows ends
     * nspawn in order. */
    if (task_kill_inside(task) >= 0)
        return 0;
    clear->op = unit_kill(task->host->units, task->names.unit, "all", SIGKILL, on_step_done, clear);
    return FLOW_WAIT;
}

static int stop(struct clear *clear, const char *unit)
{
    clear->op = unit_stop(clear->task->host->units, unit, on_step_done, clear);
    return FLOW_WAIT;
}

static int stop_unit(void *data, struct fail *fail)
{
    struct clear *clear = data;

    (void)fail;
    return stop(clear, clear->task->names.unit);
}

static int stop_holder(void *data, struct fail *fail)
{
    struct clear *clear = data;

    (void)fail;
    clear->task->logs = task_logs_free(clear->task->logs);
    return stop(clear, clear->task->names.holder);
}

static int stop_slice(void *data, struct fail *fail)
{
    struct clear *clear = data;

    (void)fail;
    return stop(clear, clear->task->names.slice);
}

/* What the container said before it failed belongs to the task's log. */
static int finish_logs(void *data, struct fail *fail)
{
    struct clear *clear = data;

    (void)fail;
    if (clear->task->logs == NULL)
        return 0;
    task_logs_finish(clear->task->logs, on_step_done, clear);
    return FLOW_WAIT;
}

static int remove_copies(const void *image)
{
    return ephemeral_copy_remove(image);
}

static void on_copies_removed(int error, void *data)
{
    struct clear *clear = data;

    clear->worker = NULL;
    if (error < 0)
        log_task_warn(clear->task->spec.id, "cannot remove a copy of '%s', ignoring: %s",
                      clear->task->image, strerror(-error));
    flow_continue(clear->flow);
}

/* nspawn does that itself unless it was killed. */
static int clear_copies(void *data, struct fail *fail)
{
    struct clear *clear = data;
    const struct task *task = clear->task;

    (void)fail;
    if (task->image == NULL || task->has_no_copy || !ephemeral_copy_exists(task->image))
        return 0;
    clear->worker = worker_new(task_event_loop(task), remove_copies, task->image, CLEAR_COPIES_SEC,
                               on_copies_removed, clear);
    return clear->worker != NULL ? FLOW_WAIT : 0;
}

static void on_network_told(void *data)
{
    struct clear *clear = data;

    flow_continue(clear->flow);
}

static int clear_network(void *data, struct fail *fail)
{
    struct clear *clear = data;

    (void)fail;
    return task_network_clear(clear->task->network, on_network_told, clear) > 0 ? FLOW_WAIT : 0;
}

static const struct flow_step unit_steps[] = {
    { "kill what an earlier start left", kill_container },
    { "stop its unit", stop_unit },
    { "stop its log unit", stop_holder },
    { "stop its slice", stop_slice },
    {},
};

static const struct flow_step all_steps[] = {
    { "kill what still runs", kill_container },     { "stop the unit", stop_unit },
    { "remove a copy of the image", clear_copies }, { "finish the logs", finish_logs },
    { "stop the log unit", stop_holder },           { "stop the slice", stop_slice },
    { "give the network back", clear_network },     {},
};

static void on_cleared(const struct fail *fail, void *data)
{
    struct clear *clear = data;
    clear_done_fn done = clear->done;
    void *done_data = clear->data;

    (void)fail; /* no step fails */
    clear_free(clear);
    done(done_data);
}

static struct clear *clear_new(struct task *task, const struct flow_step *steps, clear_done_fn done,
                               void *data)
{
    struct clear *clear = ALLOC_NEW(struct clear);

    clear->task = task;
    clear->done = done;
    clear->data = data;
    clear->flow = flow_start(task_event_loop(task), steps, on_cleared, clear);
    return clear;
}

struct clear *clear_units(struct task *task, clear_done_fn done, void *data)
{
    return clear_new(task, unit_steps, done, data);
}

struct clear *clear_all(struct task *task, clear_done_fn done, void *data)
{
    return clear_new(task, all_steps, done, data);
}

struct clear *clear_free(struct clear *clear)
{
    if (clear == NULL)
        return NULL;
    clear->op = unit_op_free(clear->op);
    clear->worker = worker_free(clear->worker);
    clear->flow = flow_free(clear->flow);
    free(clear);
    return NULL;
}
