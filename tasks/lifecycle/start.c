#include "tasks/lifecycle/start.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-id128.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/lifecycle/start_container.h"
#include "tasks/lifecycle/start_prepare.h"
#include "tasks/lifecycle/start_private.h"
#include "tasks/nspawn/settings_file.h"
#include "tasks/persist/driver_state.h"
#include "tasks/spec/task_spec.h"
#include "tasks/spec/task_options_check.h"

/* A command that nspawn could not execute has failed by then; what the task says later is its own
 * business and not remembered. */
#define START_SETTLE_USEC (2 * UINT64_C(1000000))

static const struct flow_step start_steps[] = {
    { "await the system bus", start_prepare_await_bus },
    { "take the runtime directory", start_prepare_take_dir },
    { "clear away what an earlier start left", start_prepare_clear },
    { "note the id", start_prepare_write_id },
    { "find the image", start_prepare_find_image },
    { "prepare the directories", start_prepare_make_dirs },
    { "see where addresses come from", start_prepare_decide_network },
    { "prepare the network", start_prepare_network },
    { "make the files of names", start_prepare_names },
    { "make the mount points", start_prepare_mount_points },
    { "prepare what runs inside", start_container_prepare },
    { "open the logs", start_container_open_logs },
    { "start the container", start_container_run },
    { "await the container", start_container_await },
    { "hold the logs", start_container_hold_logs },
    {},
};

/* --- the end of the start -------------------------------------------------------------------- */

static void encode_state(const struct task *task, uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    char boot_id[SD_ID128_STRING_MAX] = "";
    sd_id128_t id;

    if (sd_id128_get_boot(&id) >= 0)
        (void)sd_id128_to_string(id, boot_id);
    driver_state_encode(
        &(const struct driver_state){
            .machine = task->names.machine,
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

static void answer(struct start *start)
{
    task_started_fn done = TAKE_PTR(start->asker.done);
    CLEANUP_FREE struct task_network_port *ports = NULL;
    CLEANUP_FREE char *address = NULL;
    CLEANUP_FREE uint8_t *bytes = NULL;
    struct task_started started = {};

    encode_state(start->task, &bytes, &started.n_bytes);
    started.driver_state = bytes;
    task_network_describe(start->task->network, &started.network, &ports, &address);
    done(&started, NULL, start->asker.data);
}

void start_finish(struct start *start)
{
    struct task *task = start->task;

    settings_file_remove(task->names.machine); /* nspawn has read it, and it holds secrets */
    task->invocation_id = alloc_strdup(task->unit.invocation_id);
    task->started_usec = task->unit.started_usec;
    task_logs_settle(task->logs, START_SETTLE_USEC);
    log_task_info(task->spec.id, "started as machine '%s'", task->names.machine);
    answer(start);
}

void start_tell(const struct start *start)
{
    start_payload_tell(start->payload);
    task_network_tell(start->task->network);
}

struct task_asker *start_asker(struct start *start, const struct fail *why)
{
    if (why != NULL)
        fail_copy(&start->asker.fail, why);
    return &start->asker;
}

static void on_steps_done(const struct fail *fail, void *data)
{
    struct start *start = data;
    struct task *task = start->task;

    start->flow = flow_free(start->flow);
    if (fail == NULL) {
        task_raise(task, LIFECYCLE_STARTED, NULL);
        return;
    }
    log_task_info(task->spec.id, "start failed: %s", fail_text(fail));
    fail_copy(&start->asker.fail, fail);
    task_raise(task, LIFECYCLE_START_FAILED, NULL);
}

/* --- life ------------------------------------------------------------------------------------ */

static int prepare(struct start *start, struct network_plan *plan, struct fail *reterr)
{
    struct task *task = start->task;
    struct task_options *options = &start->options;

    int r = task_options_decode(options, task->spec.config, task->spec.config_bytes, reterr);
    if (r >= 0)
        r = task_options_check(options, task->spec.user, reterr);
    if (r >= 0)
        r = task_spec_check(&task->spec, task->host->config, reterr);
    if (r >= 0)
        r = network_plan_make(options, &task->spec, plan, reterr);
    if (r < 0)
        return r;
    task->is_booted = options->boot == TRISTATE_YES;
    task->is_under_init = options->process_two == TRISTATE_YES;
    task->has_no_copy = options->ephemeral != TRISTATE_YES;
    return 0;
}

int start_new(struct task *task, task_started_fn done, void *data, struct start **ret,
              struct fail *reterr)
{
    struct start *start = ALLOC_NEW(struct start);
    CLEANUP(network_plan_done) struct network_plan plan = {};

    start->task = task;
    int r = prepare(start, &plan, reterr);
    if (r < 0) {
        start_free(start);
        return r;
    }
    task_network_plan_set(task->network, &plan);
    start->asker.done = done;
    start->asker.data = data;
    start->flow = flow_start(task_event_loop(task), start_steps, on_steps_done, start);
    *ret = start;
    return 0;
}

struct start *start_free(struct start *start)
{
    if (start == NULL)
        return NULL;
    start->flow = flow_free(start->flow);
    start->bus_watch = bus_watch_free(start->bus_watch);
    start->bus_deadline = sd_event_source_disable_unref(start->bus_deadline);
    start->dir_op = runtime_dir_op_free(start->dir_op);
    start->clear = clear_free(start->clear);
    start->machined = machined_op_free(start->machined);
    start->op = unit_op_free(start->op);
    start->payload = start_payload_free(start->payload);
    task_dirs_done(&start->dirs);
    strv_done(&start->argv);
    fail_done(&start->asker.fail);
    task_options_done(&start->options);
    free(start);
    return NULL;
}
