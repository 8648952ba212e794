/* Ending a container: a signal, the kill timeout, SIGKILL; signals on the way; giving up a start.
 *
 * What has to be in time goes to the processes by pidfd, never over the bus: systemd may be
 * re-executing, and then answers seconds later. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"
#include "tasks/lifecycle/task.h"
#include "tasks/nspawn/leader.h"
#include "tasks/nspawn/payload.h"
#include "tasks/spec/signal_name.h"

/* By default a timer may be a quarter of a second late, which is no kill timeout of anybody's. */
#define STOP_ACCURACY_USEC 1000

/* Killing the leader ends the container at once. Where it does not (a process in uninterruptible
 * sleep keeps nspawn from exiting, or systemd does not tell), who waits is answered within the
 * second after the timeout, and systemd is asked again and again to kill all it can. */
#define STOP_ANSWER_USEC (900 * UINT64_C(1000))
#define STOP_AGAIN_USEC  (2 * UINT64_C(1000000))

/* systemd's word for an init: halt in order. nspawn sends it when it gets SIGTERM itself. */
#define STOP_HALT (SIGRTMIN + 3)

enum stop_stage { STOP_ASKED, STOP_KILLED, STOP_KILLED_ALL };

/* --- signals --------------------------------------------------------------------------------- */

static int kill_leader(const struct task *task, int signal)
{
    if (task->leader_fd >= 0)
        return leader_signal(task->leader_fd, signal);
    /* Found again, but not yet known to be nspawn's child. */
    if (task->leader == 0)
        return -ESRCH;
    return payload_kill_child(task->unit.main_pid, task->leader, signal);
}

/* The process that is "the task": the init's child, or PID 1 itself. */
static int kill_payload(const struct task *task, int signal)
{
    pid_t child;

    if (!task->is_under_init)
        return kill_leader(task, signal);
    if (task->leader == 0)
        return -ESRCH;
    int r = payload_find_child(task->leader, &child);
    return r < 0 ? r : payload_kill_child(task->leader, child, signal);
}

int task_kill_inside(const struct task *task)
{
    CLEANUP_FREE char *slice = task_cgroup_path(task);

    if (slice == NULL)
        return -ENOENT;
    CLEANUP_FREE char *path = alloc_printf("%s/%s/payload/cgroup.kill", slice, task->unit_name);
    return file_set(AT_FDCWD, path, "1");
}

int task_signal(struct task *task, int signal, struct fail *reterr)
{
    CLEANUP_FREE char *name = signal_name_format(signal);

    if (!task_is_alive(task))
        return fail_set(reterr, -ESRCH, "the task has ended");
    int r = kill_payload(task, signal);
    if (r < 0)
        return fail_set(reterr, r, "cannot send %s: %s", name,
                        r == -ESRCH || r == -EAGAIN ? "the task's process is not there"
                                                    : strerror(-r));
    return 0;
}

/* --- freezing -------------------------------------------------------------------------------- */

static void on_frozen(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->freeze = NULL;
    task_requests_answer(&task->freezes, fail);
}

int task_freeze(struct task *task, int signal, driver_done_fn done, void *data, struct fail *reterr)
{
    if (task->state != TASK_RUNNING && task->state != TASK_STOPPING)
        return fail_set(reterr, -ESRCH, "the task is %s, and can't be frozen or thawed",
                        task_state_name(task->state));
    if (signal == SIGSTOP && task->state == TASK_STOPPING)
        return fail_set(reterr, -EBUSY, "the task is being stopped, and can't be frozen");
    if (task->freeze != NULL)
        return fail_set_recoverable(reterr, -EBUSY, "the task is being frozen or thawed already");
    task_requests_add(&task->freezes, done, data);
    task->freeze = signal == SIGSTOP
                           ? unit_freeze(task->host->units, task->unit_name, on_frozen, task)
                           : unit_thaw(task->host->units, task->unit_name, on_frozen, task);
    return 0;
}

static void end_freeze(struct task *task, const char *why)
{
    CLEANUP_FAIL struct fail fail = {};

    task->freeze = unit_op_free(task->freeze);
    (void)fail_set(&fail, -ECANCELED, "%s", why);
    task_requests_answer(&task->freezes, &fail);
}

void task_end_freeze(struct task *task)
{
    end_freeze(task, "the task has ended");
}

static void on_thawed(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->freeze = NULL;
    if (fail != NULL)
        log_task_debug(task->spec.id, "cannot thaw: %s, ignoring", fail_text(fail));
}

/* What is frozen handles no signal. Also one that somebody else froze, or a plugin before us. */
static void thaw(struct task *task)
{
    end_freeze(task, "the task is being stopped");
    task->freeze = unit_thaw(task->host->units, task->unit_name, on_thawed, task);
}

/* --- stop ------------------------------------------------------------------------------------ */

static int on_stop_timer(sd_event_source *source, uint64_t usec, void *data);

static void arm_timer(struct task *task, uint64_t usec)
{
    sd_event *event = bus_event(task->host->bus);

    task->stop_timer = sd_event_source_disable_unref(task->stop_timer);
    int r = sd_event_add_time_relative(event, &task->stop_timer, CLOCK_MONOTONIC, usec,
                                       STOP_ACCURACY_USEC, on_stop_timer, task);
    assert(r >= 0);
    (void)sd_event_source_set_description(task->stop_timer, "task-stop");
}

static void on_killed(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->op = NULL;
    if (fail != NULL)
        log_task_warn(task->spec.id, "cannot kill: %s", fail_text(fail));
}

static void kill_unit(struct task *task, const char *whom, int signal)
{
    task->op = unit_op_free(task->op);
    task->op = unit_kill(task->host->units, task->unit_name, whom, signal, on_killed, task);
}

/* The leader rather than the unit's processes: nspawn then ends as after any container, removes an
 * ephemeral image, and systemd keeps the result. */
static void kill_all(struct task *task)
{
    task->is_killed = true;
    if (kill_leader(task, SIGKILL) < 0 && task_kill_inside(task) < 0)
        kill_unit(task, "all", SIGKILL);
}

/* Nomad says that it kills the task; this says with what. */
static void tell_sent(const struct task *task, int signal)
{
    CLEANUP_FREE char *name = signal_name_format(signal);
    struct pairs annotations = {};

    pairs_set(&annotations, "signal", name);
    if (task->is_booted && task->stop_signal == 0)
        task_tell(task, &annotations, "Sent %s to the system's init, to shut down in order", name);
    else
        task_tell(task, &annotations, "Sent %s to the %s", name,
                  task->is_booted ? "system's init" : "task's process");
    pairs_done(&annotations);
}

static void tell_killed(const struct task *task)
{
    CLEANUP_FREE char *timeout = alloc_printf("%g s", (double)task->stop_usec / 1e6);
    struct pairs annotations = {};

    pairs_set(&annotations, "signal", "SIGKILL");
    pairs_set(&annotations, "kill_timeout", timeout);
    task_tell(task, &annotations, "Did not end within %s, killed by SIGKILL", timeout);
    pairs_done(&annotations);
}

/* A booted system without a signal of the job's own is shut down in order. */
static void ask(struct task *task)
{
    bool halts = task->is_booted && task->stop_signal == 0;
    int signal = halts ? STOP_HALT : task->stop_signal != 0 ? task->stop_signal : SIGTERM;

    thaw(task);
    int r = halts ? kill_leader(task, signal) : kill_payload(task, signal);
    if (r >= 0)
        tell_sent(task, signal);
    else if (r != -ESRCH && r != -EAGAIN)
        log_task_warn(task->spec.id, "cannot send the stop signal: %s", strerror(-r));
    task->is_killed = r >= 0 && signal == SIGKILL;
    arm_timer(task, task->stop_usec);
}

/* The timeout is over. */
static void escalate(struct task *task)
{
    task->stop_stage = STOP_KILLED;
    if (task->stop_usec > 0) {
        log_task_info(task->spec.id, "did not end in time, killing it");
        tell_killed(task);
    }
    kill_all(task);
    arm_timer(task, STOP_ANSWER_USEC);
}

static void answer_late(struct task *task)
{
    CLEANUP_FAIL struct fail fail = {};

    if (task->leader_fd < 0 || !leader_has_ended(task->leader_fd))
        (void)fail_set_recoverable(&fail, -ETIMEDOUT,
                                   "the container has not ended a second after it was killed; "
                                   "killing it goes on");
    task_requests_answer(&task->stops, fail.error < 0 ? &fail : NULL);
}

static int on_stop_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;

    (void)source;
    (void)usec;
    if (task->state == TASK_STARTING) {
        task_remove(task);
    } else if (task->stop_stage == STOP_ASKED) {
        escalate(task);
    } else {
        task->stop_stage = STOP_KILLED_ALL;
        kill_unit(task, "all", SIGKILL);
        arm_timer(task, STOP_AGAIN_USEC);
        answer_late(task);
    }
    return 0;
}

/* Nothing of it goes on from here; who asked for the start is told from the loop. */
static void cancel_start(struct task *task)
{
    if (task->flow == NULL)
        return; /* already */
    task->flow = flow_free(task->flow);
    task->bus_watch = bus_watch_free(task->bus_watch);
    task->bus_deadline = sd_event_source_disable_unref(task->bus_deadline);
    task->dir_op = runtime_dir_op_free(task->dir_op);
    task->machined = machined_op_free(task->machined);
    task->ownership = ownership_free(task->ownership);
    task->op = unit_op_free(task->op);
    task->is_awaited = false;
    if (task->fail.error >= 0)
        (void)fail_set(&task->fail, -ECANCELED, "the task was stopped while it started");
    arm_timer(task, 0);
}

void task_stop(struct task *task, int signal, uint64_t timeout_usec)
{
    if (task->state == TASK_STARTING) {
        cancel_start(task);
        return;
    }
    if (task->state == TASK_STOPPING) {
        if (timeout_usec == 0 && task->stop_stage == STOP_ASKED) {
            task->stop_usec = 0;
            escalate(task);
        }
        return;
    }
    task->stop_signal = signal;
    task->stop_usec = timeout_usec;
    if (task->state != TASK_RUNNING)
        return; /* recovering: taken up when it runs; ended: nothing to do */
    task_set_state(task, TASK_STOPPING);
    if (timeout_usec == 0)
        escalate(task);
    else
        ask(task);
}
