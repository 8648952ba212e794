#include "tasks/lifecycle/start_prepare.h"

#include <assert.h>
#include <errno.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/images/image.h"
#include "tasks/lifecycle/start_private.h"
#include "tasks/mounts/job_binds.h"
#include "tasks/mounts/mount_points.h"
#include "tasks/mounts/volumes.h"
#include "tasks/network/task_network_names.h"
#include "tasks/network/task_network_prepare.h"

/* A plugin that was just launched has its connection within milliseconds. Longer than this, and the
 * job's restart policy may try again. */
#define START_BUS_USEC (5 * UINT64_C(1000000))

/* --- bus ------------------------------------------------------------------------------------- */

static void end_bus_wait(struct start *start)
{
    start->bus_watch = bus_watch_free(start->bus_watch);
    start->bus_deadline = sd_event_source_disable_unref(start->bus_deadline);
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    struct start *start = data;

    (void)bus;
    if (!up)
        return;
    end_bus_wait(start);
    flow_continue(start->flow);
}

static int on_bus_deadline(sd_event_source *source, uint64_t usec, void *data)
{
    struct start *start = data;
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    end_bus_wait(start);
    (void)fail_set_recoverable(&fail, -ENOTCONN,
                               "no connection to the system bus, over which systemd starts tasks: "
                               "see 'systemctl status dbus.socket' on the host");
    flow_fail(start->flow, &fail);
    return 0;
}

int start_prepare_await_bus(void *data, struct fail *fail)
{
    struct start *start = data;
    struct bus *bus = start->task->host->bus;

    (void)fail;
    if (bus_get(bus) != NULL)
        return 0;
    start->bus_watch = bus_watch_add(bus, on_bus_changed, start);
    int r = sd_event_add_time_relative(bus_event(bus), &start->bus_deadline, CLOCK_MONOTONIC,
                                       START_BUS_USEC, 0, on_bus_deadline, start);
    assert(r >= 0);
    (void)sd_event_source_set_description(start->bus_deadline, "task-bus-deadline");
    return FLOW_WAIT;
}

/* --- directory and leftovers ----------------------------------------------------------------- */

static void end_step(struct start *start, const struct fail *fail)
{
    if (fail != NULL)
        flow_fail(start->flow, fail);
    else
        flow_continue(start->flow);
}

static void on_dir_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct start *start = data;

    start->dir_op = NULL;
    start->task->dir = dir;
    end_step(start, fail);
}

int start_prepare_take_dir(void *data, struct fail *fail)
{
    struct start *start = data;
    const struct task *task = start->task;

    (void)fail;
    start->dir_op = runtime_dir_take(task_event_loop(task), task->names.machine, true, on_dir_taken,
                                     start);
    return FLOW_WAIT;
}

static void on_cleared(void *data)
{
    struct start *start = data;

    start->clear = NULL;
    flow_continue(start->flow);
}

/* The runtime directory is made first and removed last. */
int start_prepare_clear(void *data, struct fail *fail)
{
    struct start *start = data;

    (void)fail;
    if (!runtime_dir_is_left_over(start->task->dir))
        return 0;
    start->clear = clear_units(start->task, on_cleared, start);
    return FLOW_WAIT;
}

/* By this a task that nobody knows any more is told from a later start of the same task. */
int start_prepare_write_id(void *data, struct fail *fail)
{
    const struct start *start = data;

    return runtime_dir_write_id(start->task->dir, start->task->spec.id, fail);
}

/* --- image ----------------------------------------------------------------------------------- */

static void on_image(const char *path, const struct fail *fail, void *data)
{
    struct start *start = data;
    CLEANUP_FAIL struct fail own = {};

    start->machined = NULL;
    bool found = image_take_known(start->options.image, path, fail, &start->task->image, &own) >= 0;
    end_step(start, found ? NULL : &own);
}

int start_prepare_find_image(void *data, struct fail *fail)
{
    struct start *start = data;
    struct task *task = start->task;
    CLEANUP_FREE char *task_dir = task_dir_path(task);

    int r = image_find(start->options.image, task_dir, &task->image, fail);
    if (r != IMAGE_ASK_MACHINED)
        return r;
    start->machined = machined_find_image(task->host->bus, start->options.image, on_image, start);
    return FLOW_WAIT;
}

/* --- directories ----------------------------------------------------------------------------- */

static void on_owned(const struct fail *fail, void *data)
{
    struct task *task = data;

    if (task->start != NULL)
        end_step(task->start, fail);
}

int start_prepare_make_dirs(void *data, struct fail *fail)
{
    struct start *start = data;
    struct task *task = start->task;
    bool user_namespace = start->options.user_namespacing == TRISTATE_YES;

    int r = task_dirs_make(&task->spec, user_namespace, &start->dirs, fail);
    if (r < 0)
        return r;
    CLEANUP_FREE char *task_dir = task_dir_path(task);
    r = volumes_add(&task->spec, user_namespace, &start->dirs.binds, fail);
    if (r >= 0)
        r = job_binds_add(&start->options, task_dir, &start->dirs.binds, fail);
    if (r < 0)
        return r;
    if (start->dirs.shifted.n_items == 0)
        return 0;
    task->uid_base = start->dirs.base;
    strv_copy(&task->shifted_dirs, &start->dirs.shifted);
    r = ownership_new(task_event_loop(task), &task->shifted_dirs, task->uid_base, on_owned, task,
                      &task->ownership, fail);
    return r < 0 ? r : FLOW_WAIT;
}

/* The image itself gets them. A copy of it can be written to, and goes with all that nspawn makes
 * in it; but not one that is read-only. */
int start_prepare_mount_points(void *data, struct fail *fail)
{
    const struct start *start = data;

    if (start->options.ephemeral == TRISTATE_YES && start->options.read_only != TRISTATE_YES)
        return 0;
    return mount_points_make(start->task->image, &start->dirs.binds, fail);
}

/* --- network --------------------------------------------------------------------------------- */

static void on_network(void *data)
{
    struct start *start = data;

    flow_continue(start->flow);
}

int start_prepare_decide_network(void *data, struct fail *fail)
{
    struct start *start = data;

    (void)fail;
    return task_network_prepare_mode(start->task->network, on_network, start) > 0 ? FLOW_WAIT : 0;
}

int start_prepare_network(void *data, struct fail *fail)
{
    struct start *start = data;
    const struct task *task = start->task;

    int r = task_network_prepare_link(task->network, &start->options, task->spec.network_path,
                                      on_network, start, fail);
    return r > 0 ? FLOW_WAIT : r;
}

int start_prepare_names(void *data, struct fail *fail)
{
    struct start *start = data;
    const struct task *task = start->task;
    const struct task_network_names_args args = {
        .plan = task_network_plan(task->network),
        .spec = &task->spec,
        .options = &start->options,
        .machine = task->names.machine,
        .dir_path = runtime_dir_path(task->dir),
    };

    int r = task_network_names_make(&args, &start->dirs.binds, fail);
    start->has_resolver = r > 0;
    return r < 0 ? r : 0;
}
