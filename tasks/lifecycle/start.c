/* Starting a task: the steps, in order. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/fingerprint/probe.h"
#include "tasks/images/image.h"
#include "tasks/lifecycle/start_argv.h"
#include "tasks/lifecycle/start_payload.h"
#include "tasks/lifecycle/task.h"
#include "tasks/mounts/job_binds.h"
#include "tasks/mounts/mount_points.h"
#include "tasks/network/task_network.h"
#include "tasks/nspawn/nspawn_words.h"
#include "tasks/nspawn/settings_file.h"
#include "tasks/persist/driver_state.h"
#include "tasks/resources/limits.h"

/* A command that nspawn could not execute has failed by then; what the task says later is its own
 * business and not remembered. */
#define START_SETTLE_USEC (2 * UINT64_C(1000000))

/* The orderly end of a booted system at `systemctl stop` or the host's shutdown; systemd's own
 * default for services. */
#define START_STOP_USEC (90 * UINT64_C(1000000))

/* A plugin that was just launched has its connection within milliseconds. Longer than this, and the
 * job's restart policy may try again. */
#define START_BUS_USEC (5 * UINT64_C(1000000))

/* --- bus ------------------------------------------------------------------------------------- */

static void end_bus_wait(struct task *task)
{
    task->bus_watch = bus_watch_free(task->bus_watch);
    task->bus_deadline = sd_event_source_disable_unref(task->bus_deadline);
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    struct task *task = data;

    (void)bus;
    if (!up)
        return;
    end_bus_wait(task);
    flow_continue(task->flow);
}

static int on_bus_deadline(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    end_bus_wait(task);
    (void)fail_set_recoverable(&fail, -ENOTCONN,
                               "no connection to the system bus, over which systemd starts tasks: "
                               "see 'systemctl status dbus.socket' on the host");
    flow_fail(task->flow, &fail);
    return 0;
}

static int await_bus(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (bus_get(task->host->bus) != NULL)
        return 0;
    task->bus_watch = bus_watch_add(task->host->bus, on_bus_changed, task);
    int r = sd_event_add_time_relative(bus_event(task->host->bus), &task->bus_deadline,
                                       CLOCK_MONOTONIC, START_BUS_USEC, 0, on_bus_deadline, task);
    assert(r >= 0);
    (void)sd_event_source_set_description(task->bus_deadline, "task-bus-deadline");
    return FLOW_WAIT;
}

/* --- directory and leftovers ----------------------------------------------------------------- */

static void on_dir_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct task *task = data;

    task->dir_op = NULL;
    task->dir = dir;
    if (fail != NULL)
        flow_fail(task->flow, fail);
    else
        flow_continue(task->flow);
}

static int take_dir(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    task->dir_op = runtime_dir_take(bus_event(task->host->bus), task->machine, true, on_dir_taken,
                                    task);
    return FLOW_WAIT;
}

static char *task_dir_of(const struct task *task)
{
    return alloc_printf("%s/%s", task->spec.alloc_dir, task->spec.name);
}

/* --- image ----------------------------------------------------------------------------------- */

static void on_image(const char *path, const struct fail *fail, void *data)
{
    struct task *task = data;
    CLEANUP_FAIL struct fail own = {};

    task->machined = NULL;
    if (image_take_known(task->config.image, path, fail, &task->image, &own) < 0)
        flow_fail(task->flow, &own);
    else
        flow_continue(task->flow);
}

static int find_image(void *data, struct fail *fail)
{
    struct task *task = data;
    CLEANUP_FREE char *task_dir = task_dir_of(task);

    int r = image_find(task->config.image, task_dir, &task->image, fail);
    if (r != IMAGE_ASK_MACHINED)
        return r;
    task->machined = machined_find_image(task->host->bus, task->config.image, on_image, task);
    return FLOW_WAIT;
}

/* --- directories ----------------------------------------------------------------------------- */

static void on_owned(const struct fail *fail, void *data)
{
    struct task *task = data;

    if (fail != NULL)
        flow_fail(task->flow, fail);
    else
        flow_continue(task->flow);
}

static void bind_volumes(struct task *task, bool user_namespace)
{
    for (size_t i = 0; i < task->spec.n_mounts; i++) {
        const struct task_mount *mount = &task->spec.mounts[i];
        struct nspawn_bind_how how = { .read_only = mount->read_only };

        if (user_namespace && probe_idmap(mount->host_path) >= 0)
            how.map = NSPAWN_BIND_MAP_IDMAP;
        nspawn_binds_add(&task->dirs.binds, mount->host_path, mount->task_path, how);
    }
}

static int make_dirs(void *data, struct fail *fail)
{
    struct task *task = data;
    bool user_namespace = task->config.user_namespacing == TRISTATE_YES;

    int r = task_dirs_make(&task->spec, user_namespace, &task->dirs, fail);
    if (r < 0)
        return r;
    bind_volumes(task, user_namespace);
    CLEANUP_FREE char *task_dir = task_dir_of(task);
    r = job_binds_add(&task->config, task_dir, &task->dirs.binds, fail);
    if (r < 0)
        return r;
    if (task->dirs.shifted.n_items == 0)
        return 0;
    task->uid_base = task->dirs.base;
    strv_copy(&task->shifted_dirs, &task->dirs.shifted);
    r = ownership_new(bus_event(task->host->bus), &task->shifted_dirs, task->uid_base, on_owned,
                      task, &task->ownership, fail);
    return r < 0 ? r : FLOW_WAIT;
}

/* The image itself gets them. A copy of it can be written to, and goes with all that nspawn makes
 * in it; but not one that is read-only. */
static int make_mount_points(void *data, struct fail *fail)
{
    const struct task *task = data;

    if (task->config.ephemeral == TRISTATE_YES && task->config.read_only != TRISTATE_YES)
        return 0;
    return mount_points_make(task->image, &task->dirs.binds, fail);
}

/* By this a task that nobody knows any more is told from a later start of the same task. */
static int write_id(void *data, struct fail *fail)
{
    struct task *task = data;

    return runtime_dir_write_id(task->dir, task->spec.id, fail);
}

/* --- logs ------------------------------------------------------------------------------------ */

static void fail_start(struct task *task, const struct fail *fail)
{
    if (task->state != TASK_STARTING)
        return;
    fail_copy(&task->fail, fail);
    task_start_progress(task);
}

static void on_held(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->is_held = true;
    if (fail != NULL)
        fail_start(task, fail);
    else
        task_start_progress(task);
}

static int open_logs(void *data, struct fail *fail)
{
    struct task *task = data;
    struct task_logs_args args = {
        .task = task->spec.id,
        .dir_fd = runtime_dir_fd(task->dir),
        .stdout_path = task->spec.stdout_path,
        .stderr_path = task->spec.stderr_path,
        .holder = task->holder_name,
        .slice = task->slice,
    };

    return task_logs_new(task->host->units, &args, &task->logs, fail);
}

/* After the container, which systemd then starts first; the start waits for both. */
static int hold_logs(void *data, struct fail *fail)
{
    struct task *task = data;

    return task_logs_hold(task->logs, on_held, task, fail);
}

/* --- the container --------------------------------------------------------------------------- */

static void on_unit_changed(const struct unit_state *state, void *data)
{
    struct task *task = data;

    task->unit = *state;
    if (task->state == TASK_RUNNING || task->state == TASK_STOPPING)
        task_handle_unit(task);
    else if (task->state == TASK_STARTING)
        task_start_progress(task);
}

static void on_unit_started(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->op = NULL;
    if (fail != NULL) {
        fail_start(task, fail);
        return;
    }
    task->is_started = true;
    /* The invocation id is in no signal. */
    unit_watch_refresh(task->watch);
    task_start_progress(task);
}

static int start_container(void *data, struct fail *fail)
{
    struct task *task = data;
    CLEANUP_FREE char *description = alloc_printf("Nomad task %s", task->spec.id);
    CLEANUP_CLOSE int out = -EBADF, err = -EBADF;
    struct strv argv = {}, environment = {};
    CLEANUP(unit_properties_done) struct unit_properties properties = {};

    if (task->plan.kind == NETWORK_GROUP)
        unit_properties_add_string(&properties, "NetworkNamespacePath", task->spec.network_path);
    int r = limits_add(&task->spec.resources, &properties, fail);
    if (r >= 0)
        r = task_follow_notify(task, fail);
    if (r >= 0)
        r = task_logs_open_payload(task->logs, &out, &err, fail);
    if (r < 0)
        return r;

    start_argv_make(task, &argv);
    strv_printf(&environment, "NOTIFY_SOCKET=%s/" RUNTIME_DIR_NOTIFY, runtime_dir_path(task->dir));
    /* Else an image without systemd gets cgroup v1 mounts. */
    strv_push(&environment, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1");
    if (task->seccomp_cached)
        strv_push(&environment, "SYSTEMD_SECCOMP=0"); /* our init installs them */
    /* It writes where the task writes. Less than an error (how it shortened an interface's name, a
     * warning at every start) has no place in the task's log. */
    strv_push(&environment, "SYSTEMD_LOG_LEVEL=err");

    struct unit_service service = {
        .name = task->unit_name,
        .description = description,
        .slice = task->slice,
        .argv = &argv,
        .environment = &environment,
        .stdout_fd = out,
        .stderr_fd = err,
        .delegate = true,
        .stop_usec = START_STOP_USEC,
        .properties = &properties,
    };
    task->watch = unit_watch_new(task->host->bus, task->unit_name, on_unit_changed, task);
    task->op = unit_start(task->host->units, &service, on_unit_started, task);
    strv_done(&argv);
    strv_done(&environment);
    return 0;
}

/* Nothing, or what went wrong, or -EAGAIN: it is not known yet. */
static int examine_start(struct task *task)
{
    if (task->fail.error < 0)
        return task->fail.error;
    /* What nspawn said before it ended may still lie in the socket. */
    if (!task->is_ready && task->unit.exit_code != 0)
        notify_receive(task->notify);
    if (unit_state_has_ended(&task->unit)) {
        start_payload_receive(task);
        if (task->fail.error < 0)
            return task->fail.error;
    }
    bool runs = task->is_ready && start_payload_is_up(task);
    bool has_ended = unit_state_has_ended(&task->unit);
    /* What the command came to is the task's own end, also where the network was waited for. */
    bool is_up = runs && (has_ended || task_network_is_up(task));
    if (!is_up && has_ended) {
        CLEANUP_FREE char *line = task_logs_last_line(task->logs);
        (void)nspawn_words_start_failure(line, &task->unit, &task->fail);
    } else if (task->is_started && !task->unit.loaded) {
        (void)fail_set(&task->fail, -ECANCELED,
                       "somebody stopped the unit '%s' while the task started", task->unit_name);
    } else if (!is_up || !task->is_held || !task->is_started ||
               task->unit.invocation_id[0] == '\0') {
        return -EAGAIN;
    }
    return task->fail.error;
}

void task_start_progress(struct task *task)
{
    if (!task->is_awaited)
        return;
    task->is_awaited = false; /* examining hears nspawn, which leads here again */
    int r = examine_start(task);
    if (r == -EAGAIN)
        task->is_awaited = true;
    else if (r < 0)
        flow_fail(task->flow, &task->fail);
    else
        flow_continue(task->flow);
}

static int await_container(void *data, struct fail *fail)
{
    struct task *task = data;

    int r = examine_start(task);
    if (r == -EAGAIN) {
        task->is_awaited = true;
        return FLOW_WAIT;
    }
    if (r < 0)
        fail_copy(fail, &task->fail);
    return r;
}

static const struct flow_step start_steps[] = {
    { "await the system bus", await_bus },
    { "take the runtime directory", take_dir },
    { "kill what an earlier start left", task_clear_container },
    { "stop its unit", task_clear_unit },
    { "stop its log unit", task_clear_holder },
    { "stop its slice", task_clear_slice },
    { "note the id", write_id },
    { "find the image", find_image },
    { "prepare the directories", make_dirs },
    { "see where addresses come from", task_network_decide },
    { "prepare the network", task_network_prepare },
    { "make the files of names", task_network_name },
    { "make the mount points", make_mount_points },
    { "prepare what runs inside", start_payload_prepare },
    { "open the logs", open_logs },
    { "start the container", start_container },
    { "hold the logs", hold_logs },
    { "await the container", await_container },
    {},
};

/* --- the end of the start -------------------------------------------------------------------- */

static int on_settled(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;

    (void)source;
    (void)usec;
    task_logs_forget_tail(task->logs);
    return 0;
}

static void encode_state(const struct task *task, uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    char boot_id[SD_ID128_STRING_MAX] = "";
    sd_id128_t id;

    if (sd_id128_get_boot(&id) >= 0)
        (void)sd_id128_to_string(id, boot_id);
    driver_state_encode(&(const struct driver_state){
                                .machine = task->machine,
                                .invocation_id = task->invocation_id,
                                .boot_id = boot_id,
                                .stdout_path = task->spec.stdout_path,
                                .stderr_path = task->spec.stderr_path,
                                .image = task->image,
                                .boot = task->is_booted,
                                .as_pid2 = task->is_under_init,
                                .uid_base = task->uid_base,
                                .shifted_dirs = task->shifted_dirs,
                                .started_usec = task->started_usec,
                        },
                        ret_bytes, ret_n_bytes);
}

static void answer_started(struct task *task)
{
    driver_started_fn done = TAKE_PTR(task->started_done);
    CLEANUP_FREE struct driver_network_port *ports = NULL;
    CLEANUP_FREE char *address = NULL;
    CLEANUP_FREE uint8_t *bytes = NULL;
    struct driver_started started = {};

    if (task->fail.error < 0) {
        done(NULL, &task->fail, task->done_data);
        return;
    }
    encode_state(task, &bytes, &started.n_bytes);
    started.driver_state = bytes;
    task_network_describe(task, &started.network, &ports, &address);
    done(&started, NULL, task->done_data);
}

static void finish_start(struct task *task)
{
    settings_file_remove(task->machine); /* nspawn has read it, and it holds secrets */
    task->invocation_id = alloc_strdup(task->unit.invocation_id);
    task->started_usec = task->unit.started_usec;
    int r = sd_event_add_time_relative(bus_event(task->host->bus), &task->settle, CLOCK_MONOTONIC,
                                       START_SETTLE_USEC, 0, on_settled, task);
    assert(r >= 0);
    (void)sd_event_source_set_description(task->settle, "task-settle");
    log_task_info(task->spec.id, "started as machine '%s'", task->machine);
    answer_started(task);
    task_set_state(task, TASK_RUNNING);
    start_payload_tell(task);
    task_network_tell(task);
    task_handle_unit(task);
}

void task_fail_start(struct task *task)
{
    task_set_exit_error(task, fail_text(&task->fail));
    answer_started(task);
}

static void on_start_done(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->flow = flow_free(task->flow);
    if (fail == NULL) {
        finish_start(task);
        return;
    }
    log_task_info(task->spec.id, "start failed: %s", fail_text(fail));
    if (task->fail.error >= 0)
        fail_copy(&task->fail, fail);
    task_remove(task);
}

void task_start(struct task *task)
{
    task->is_booted = task->config.boot == TRISTATE_YES;
    task->is_under_init = task->config.process_two == TRISTATE_YES;
    task->flow = flow_start(bus_event(task->host->bus), start_steps, on_start_done, task);
}

