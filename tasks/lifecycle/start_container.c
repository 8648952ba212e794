#include "tasks/lifecycle/start_container.h"

#include <errno.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/lifecycle/start_argv.h"
#include "tasks/lifecycle/start_private.h"
#include "tasks/lifecycle/voice.h"
#include "tasks/nspawn/nspawn_words.h"
#include "tasks/resources/limits.h"

/* The orderly end of a booted system at `systemctl stop` or the host's shutdown; systemd's own
 * default for services. */
#define START_STOP_USEC (90 * UINT64_C(1000000))

/* --- what runs inside ------------------------------------------------------------------------ */

static bool on_arrived(pid_t pid, void *data)
{
    const struct start *start = data;

    return task_network_attach(start->task->network, pid, false);
}

static void on_payload_changed(void *data)
{
    start_container_progress(data);
}

static void on_payload_failed(const struct fail *fail, void *data)
{
    start_container_fail(data, fail);
}

int start_container_prepare(void *data, struct fail *fail)
{
    struct start *start = data;
    const struct start_payload_args args = {
        .task = start->task,
        .options = &start->options,
        .arrived = on_arrived,
        .changed = on_payload_changed,
        .failed = on_payload_failed,
        .data = start,
    };

    int r = start_payload_new(&args, &start->dirs.binds, &start->payload, fail);
    if (r < 0)
        return r;
    start_argv_make(&(const struct start_argv){ .task = start->task,
                                                .options = &start->options,
                                                .dirs = &start->dirs,
                                                .plan = task_network_plan(start->task->network),
                                                .veth = task_network_veth(start->task->network),
                                                .has_resolver = start->has_resolver },
                    &start->argv);
    return start_payload_listen(start->payload, &start->argv, fail);
}

/* --- logs ------------------------------------------------------------------------------------ */

int start_container_open_logs(void *data, struct fail *fail)
{
    const struct start *start = data;
    struct task *task = start->task;
    struct task_logs_args args = {
        .task = task->spec.id,
        .dir_fd = runtime_dir_fd(task->dir),
        .stdout_path = task->spec.stdout_path,
        .stderr_path = task->spec.stderr_path,
        .holder = task->names.holder,
        .slice = task->names.slice,
    };

    return task_logs_new(task->host->units, &args, &task->logs, fail);
}

/* --- the container --------------------------------------------------------------------------- */

static void on_unit_started(const struct fail *fail, void *data)
{
    struct start *start = data;

    start->op = NULL;
    if (fail != NULL) {
        start_container_fail(start, fail);
        return;
    }
    start->is_started = true;
    /* The invocation id is in no signal. */
    unit_watch_refresh(start->task->watch);
    start_container_progress(start);
}

static void make_environment(const struct start *start, struct strv *ret)
{
    CLEANUP_FREE char *socket = alloc_printf("%s/" RUNTIME_DIR_NOTIFY,
                                             runtime_dir_path(start->task->dir));

    nspawn_words_environment(socket, start_payload_has_filters(start->payload), ret);
}

int start_container_run(void *data, struct fail *fail)
{
    struct start *start = data;
    struct task *task = start->task;
    bool is_group = task_network_plan(task->network)->kind == NETWORK_GROUP;
    CLEANUP_FREE char *description = alloc_printf("Nomad task %s", task->spec.id);
    CLEANUP(strv_done) struct strv environment = {};
    CLEANUP(unit_properties_done) struct unit_properties properties = {};
    CLEANUP_CLOSE int out = -EBADF, err = -EBADF;

    if (is_group)
        unit_properties_add_string(&properties, "NetworkNamespacePath", task->spec.network_path);
    int r = limits_add(&task->spec.resources, &properties, fail);
    if (r >= 0)
        r = voice_new(task, false, &task->voice, fail);
    if (r >= 0)
        r = task_logs_open_payload(task->logs, &out, &err, fail);
    if (r < 0)
        return r;
    make_environment(start, &environment);

    struct unit_service service = {
        .name = task->names.unit,
        .description = description,
        .slice = task->names.slice,
        .argv = &start->argv,
        .environment = &environment,
        .stdout_fd = out,
        .stderr_fd = err,
        .delegate = true,
        .stop_usec = START_STOP_USEC,
        .properties = &properties,
    };
    task_watch_unit(task);
    start->op = unit_start(task->host->units, &service, on_unit_started, start);
    return 0;
}

/* What the container is known to have come to; `fail` is set when the start has failed. */
static void examine_end(struct start *start, struct fail *fail)
{
    struct task *task = start->task;
    CLEANUP_FREE char *line = task_logs_last_line(task->logs);

    (void)nspawn_words_start_failure(line, &task->unit, fail);
}

static bool is_up(const struct start *start, bool has_ended)
{
    const struct task *task = start->task;

    if (!voice_is_ready(task->voice) || !start_payload_is_up(start->payload))
        return false;
    /* What the command came to is the task's own end, also where the network was waited for. */
    return has_ended || task_network_is_up(task->network);
}

/* What nspawn and the init said before they ended may still lie in their sockets. */
static void receive(struct start *start)
{
    struct task *task = start->task;

    if (!voice_is_ready(task->voice) && task->unit.exit_code != 0)
        voice_receive(task->voice);
    if (unit_state_has_ended(&task->unit))
        start_payload_receive(start->payload);
}

/* 0: all is there. -EAGAIN: it is not known yet. Else what went wrong, and start->asker says it. */
static int examine(struct start *start)
{
    const struct task *task = start->task;
    struct fail *fail = &start->asker.fail;

    if (fail->error >= 0)
        receive(start);
    if (fail->error < 0)
        return fail->error;
    bool has_ended = unit_state_has_ended(&task->unit);
    bool up = is_up(start, has_ended);
    if (!up && has_ended)
        examine_end(start, fail);
    else if (start->is_started && !task->unit.loaded)
        (void)fail_set(fail, -ECANCELED, "somebody stopped the unit '%s' while the task started",
                       task->names.unit);
    else if (!up || !start->is_started || task->unit.invocation_id[0] == '\0')
        return -EAGAIN;
    return fail->error;
}

void start_container_progress(struct start *start)
{
    if (!start->is_awaited)
        return;
    start->is_awaited = false; /* examining hears nspawn, which leads here again */
    int r = examine(start);
    start->is_awaited = r == -EAGAIN;
    if (r < 0 && r != -EAGAIN)
        flow_fail(start->flow, &start->asker.fail);
    else if (r >= 0)
        flow_continue(start->flow);
}

void start_container_leader(struct start *start)
{
    const struct task *task = start->task;

    if (task->is_booted)
        (void)task_network_attach(task->network, task->leader, true);
}

void start_container_fail(struct start *start, const struct fail *fail)
{
    fail_copy(&start->asker.fail, fail);
    start_container_progress(start);
}

int start_container_await(void *data, struct fail *fail)
{
    struct start *start = data;

    int r = examine(start);
    start->is_awaited = r == -EAGAIN;
    if (start->is_awaited)
        return FLOW_WAIT;
    if (r < 0)
        fail_copy(fail, &start->asker.fail);
    return r;
}

/* --- the holding unit ------------------------------------------------------------------------ */

/* The logs outlive a start that was given up. What has failed meanwhile is told now. */
static void on_held(const struct fail *fail, void *data)
{
    const struct task *task = data;
    struct start *start = task->start;

    if (start == NULL)
        return;
    if (fail == NULL && start->asker.fail.error < 0)
        fail = &start->asker.fail;
    if (fail != NULL)
        flow_fail(start->flow, fail);
    else
        flow_continue(start->flow);
}

/* Behind the container's start, which it would slow down: systemd and nspawn have much to do then.
 * It is in time: until the start is answered, Nomad does not count on the task. */
int start_container_hold_logs(void *data, struct fail *fail)
{
    const struct start *start = data;
    struct task *task = start->task;

    int r = task_logs_hold(task->logs, on_held, task, fail);
    return r < 0 ? r : FLOW_WAIT;
}
