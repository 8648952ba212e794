/* Ending a container: a signal, the kill timeout, SIGKILL. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/log.h"
#include "tasks/payload.h"
#include "tasks/task.h"

/* What an init's child needs at most to be forked once nspawn said READY (nspawn-facts section 3:
 * about 1 ms); nothing tells when, so a signal that comes earlier is tried again. */
#define STOP_FORK_USEC 5000

/* By default a timer may be a quarter of a second late, which fifty times over would be a long wait
 * for a fork, and no kill timeout of anybody's. */
#define STOP_ACCURACY_USEC 1000

/* Killing the leader ends the container at once; only a process in uninterruptible sleep keeps
 * nspawn from exiting. Then systemd is asked to kill all it can. */
#define STOP_LAST_USEC (2 * UINT64_C(1000000))

enum stop_stage { STOP_ASKED, STOP_KILLED, STOP_KILLED_ALL };

/* --- signals --------------------------------------------------------------------------------- */

/* The process that is "the task": the init's child, or PID 1 itself. */
static int kill_payload(const struct task *task, int signal)
{
    pid_t child;

    if (task->leader == 0)
        return -ESRCH;
    if (!task->is_under_init)
        return payload_kill_child(task->unit.main_pid, task->leader, signal);
    int r = payload_find_child(task->leader, &child);
    return r < 0 ? r : payload_kill_child(task->leader, child, signal);
}

int task_signal(struct task *task, int signal, struct fail *reterr)
{
    if (!task_is_alive(task))
        return fail_set(reterr, -ESRCH, "the task has ended");
    int r = kill_payload(task, signal);
    if (r < 0)
        return fail_set(reterr, r, "cannot send signal %d: %s", signal,
                        r == -ESRCH || r == -EAGAIN ? "the task's process is not there"
                                                    : strerror(-r));
    return 0;
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

/* The leader rather than the unit's processes: nspawn then ends as after any container and systemd
 * keeps the result. */
static void kill_leader(struct task *task)
{
    int r = task->leader > 0
                    ? payload_kill_child(task->unit.main_pid, task->leader, SIGKILL)
                    : -ESRCH;

    if (r < 0)
        kill_unit(task, "all", SIGKILL);
}

/* A booted system without a signal of the job's own is shut down in order, as nspawn does when it
 * gets SIGTERM itself. */
static int send_first(struct task *task)
{
    if (task->is_booted && task->stop_signal == 0) {
        kill_unit(task, "main", SIGTERM);
        return 0;
    }
    return kill_payload(task, task->stop_signal != 0 ? task->stop_signal : SIGTERM);
}

static void escalate(struct task *task)
{
    if (task->stop_stage == STOP_ASKED) {
        log_task_info(task->spec.id, "did not end in time, killing it");
        task->stop_stage = STOP_KILLED;
        kill_leader(task);
    } else {
        task->stop_stage = STOP_KILLED_ALL;
        kill_unit(task, "all", SIGKILL);
    }
    arm_timer(task, STOP_LAST_USEC);
}

static void ask(struct task *task)
{
    int r = send_first(task);

    if (r == -EAGAIN && task->stop_usec > STOP_FORK_USEC) {
        task->stop_usec -= STOP_FORK_USEC;
        arm_timer(task, STOP_FORK_USEC);
        return;
    }
    if (r < 0 && r != -ESRCH && r != -EAGAIN)
        log_task_warn(task->spec.id, "cannot send the stop signal: %s", strerror(-r));
    uint64_t rest = task->stop_usec;
    task->stop_usec = 0; /* the next timer is the kill timeout */
    arm_timer(task, rest);
}

static int on_stop_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;

    (void)source;
    (void)usec;
    if (task->stop_stage == STOP_ASKED && task->stop_usec > 0)
        ask(task);
    else
        escalate(task);
    return 0;
}

void task_stop(struct task *task, int signal, uint64_t timeout_usec)
{
    task->stop_signal = signal;
    task->stop_usec = timeout_usec;
    if (task->state == TASK_RUNNING)
        task_set_state(task, TASK_STOPPING);
    else if (task->state != TASK_STOPPING)
        return; /* starting: taken up when it runs; ended: nothing to do */
    if (timeout_usec == 0 && task->stop_stage == STOP_ASKED)
        escalate(task);
    else if (task->stop_stage == STOP_ASKED)
        ask(task);
}
