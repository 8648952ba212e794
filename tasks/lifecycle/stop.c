#include "tasks/lifecycle/stop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/lifecycle/freeze.h"
#include "tasks/lifecycle/task_kill.h"
#include "tasks/nspawn/leader.h"
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

struct stop {
    struct task *task;
    int signal; /* 0: the way that suits the container */
    uint64_t usec;
    enum stop_stage stage;
    bool is_killed; /* SIGKILL was sent by us */
    struct unit_op *op;
    sd_event_source *timer;
};

static int on_timer(sd_event_source *source, uint64_t usec, void *data);

static void arm_timer(struct stop *stop, uint64_t usec)
{
    sd_event *event = task_event_loop(stop->task);

    stop->timer = sd_event_source_disable_unref(stop->timer);
    int r = sd_event_add_time_relative(event, &stop->timer, CLOCK_MONOTONIC, usec,
                                       STOP_ACCURACY_USEC, on_timer, stop);
    assert(r >= 0);
    (void)sd_event_source_set_description(stop->timer, "task-stop");
}

static void on_killed(const struct fail *fail, void *data)
{
    struct stop *stop = data;

    stop->op = NULL;
    if (fail != NULL)
        log_task_warn(stop->task->spec.id, "cannot kill: %s", fail_text(fail));
}

static void kill_unit(struct stop *stop, const char *whom, int signal)
{
    stop->op = unit_op_free(stop->op);
    stop->op = unit_kill(stop->task->host->units, stop->task->names.unit, whom, signal, on_killed,
                         stop);
}

/* The leader rather than the unit's processes: nspawn then ends as after any container, removes an
 * ephemeral image, and systemd keeps the result. */
static void kill_all(struct stop *stop)
{
    stop->is_killed = true;
    if (task_kill_leader(stop->task, SIGKILL) < 0 && task_kill_inside(stop->task) < 0)
        kill_unit(stop, "all", SIGKILL);
}

/* Nomad says that it kills the task; this says with what. */
static void tell_sent(const struct stop *stop, int signal)
{
    CLEANUP_FREE char *name = signal_name_format(signal);
    struct pairs annotations = {};

    pairs_set(&annotations, "signal", name);
    if (stop->task->is_booted && stop->signal == 0)
        task_tell(stop->task, &annotations, "Sent %s to the system's init, to shut down in order",
                  name);
    else
        task_tell(stop->task, &annotations, "Sent %s to the %s", name,
                  stop->task->is_booted ? "system's init" : "task's process");
    pairs_done(&annotations);
}

static void tell_killed(const struct stop *stop)
{
    CLEANUP_FREE char *timeout = alloc_printf("%g s", (double)stop->usec / 1e6);
    struct pairs annotations = {};

    pairs_set(&annotations, "signal", "SIGKILL");
    pairs_set(&annotations, "kill_timeout", timeout);
    task_tell(stop->task, &annotations, "Did not end within %s, killed by SIGKILL", timeout);
    pairs_done(&annotations);
}

/* A booted system without a signal of the job's own is shut down in order. */
static void ask(struct stop *stop)
{
    bool halts = stop->task->is_booted && stop->signal == 0;
    int signal = halts ? STOP_HALT : stop->signal != 0 ? stop->signal : SIGTERM;

    freeze_end(stop->task);
    int r = halts ? task_kill_leader(stop->task, signal) : task_kill_payload(stop->task, signal);
    if (r >= 0)
        tell_sent(stop, signal);
    else if (r != -ESRCH && r != -EAGAIN)
        log_task_warn(stop->task->spec.id, "cannot send the stop signal: %s", strerror(-r));
    stop->is_killed = r >= 0 && signal == SIGKILL;
    arm_timer(stop, stop->usec);
}

/* The timeout is over. */
static void escalate(struct stop *stop)
{
    stop->stage = STOP_KILLED;
    if (stop->usec > 0) {
        log_task_info(stop->task->spec.id, "did not end in time, killing it");
        tell_killed(stop);
    }
    kill_all(stop);
    arm_timer(stop, STOP_ANSWER_USEC);
}

static void answer_late(struct stop *stop)
{
    CLEANUP_FAIL struct fail fail = {};

    if (stop->task->leader_fd < 0 || !leader_has_ended(stop->task->leader_fd))
        (void)fail_set_recoverable(&fail, -ETIMEDOUT,
                                   "the container has not ended a second after it was killed; "
                                   "killing it goes on");
    task_requests_answer(&stop->task->stops, fail.error < 0 ? &fail : NULL);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct stop *stop = data;

    (void)source;
    (void)usec;
    if (stop->stage == STOP_ASKED) {
        escalate(stop);
    } else {
        stop->stage = STOP_KILLED_ALL;
        kill_unit(stop, "all", SIGKILL);
        arm_timer(stop, STOP_AGAIN_USEC);
        answer_late(stop);
    }
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

struct stop *stop_new(struct task *task, int signal, uint64_t timeout_usec)
{
    struct stop *stop = ALLOC_NEW(struct stop);

    stop->task = task;
    stop->signal = signal;
    stop->usec = timeout_usec;
    return stop;
}

struct stop *stop_free(struct stop *stop)
{
    if (stop == NULL)
        return NULL;
    stop->op = unit_op_free(stop->op);
    stop->timer = sd_event_source_disable_unref(stop->timer);
    free(stop);
    return NULL;
}

void stop_begin(struct stop *stop)
{
    if (stop->usec == 0)
        escalate(stop);
    else
        ask(stop);
}

void stop_hurry(struct stop *stop)
{
    if (stop->stage != STOP_ASKED)
        return;
    stop->usec = 0;
    escalate(stop);
}

bool stop_has_killed(const struct stop *stop)
{
    return stop->is_killed;
}
