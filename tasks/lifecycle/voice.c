/* What systemd, nspawn and the kernel say of a container while it lives. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tasks/lifecycle/task.h"
#include "tasks/network/task_network.h"
#include "tasks/nspawn/leader.h"

void task_handle_unit(struct task *task)
{
    if (task->unit.started_usec > 0)
        task->started_usec = task->unit.started_usec;
    if (unit_state_has_ended(&task->unit) || !task->unit.loaded)
        task_drain(task);
}

void task_note_leader(struct task *task, pid_t leader)
{
    task->leader = leader;
    if (leader <= 0 || task->leader_fd >= 0)
        return;
    int fd = leader_open(leader, task->unit.main_pid, task->unit_name);
    if (fd < 0)
        log_task_debug(task->spec.id, "leader %d: %s", (int)leader, strerror(-fd));
    else
        task->leader_fd = fd;
}

/* --- what runs inside says of itself --------------------------------------------------------- */

/* Nomad keeps the last ten events of a task. */
#define STATUS_INTERVAL_USEC (30 * UINT64_C(1000000))

/* As nspawn passes on what PID 1 inside says. */
#define STATUS_PREFIX "Container running: "

/* A status is a line for people. */
#define STATUS_BYTES_MAX 256

static void tell_status(struct task *task)
{
    CLEANUP_FREE char *text = TAKE_PTR(task->status_text);
    struct pairs annotations = {};

    pairs_set(&annotations, "status", text);
    task_tell(task, &annotations, "Status: %s", text);
    pairs_done(&annotations);
    task->status_told_usec = clock_now_usec(CLOCK_MONOTONIC);
}

static int on_status_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;

    (void)source;
    (void)usec;
    task->status_timer = sd_event_source_disable_unref(task->status_timer);
    tell_status(task);
    return 0;
}

static void note_status(struct task *task, const char *text)
{
    uint64_t due = task->status_told_usec + STATUS_INTERVAL_USEC;

    free(task->status_text);
    task->status_text = alloc_strndup(text, strnlen(text, STATUS_BYTES_MAX));
    if (task->status_told_usec == 0 || clock_now_usec(CLOCK_MONOTONIC) >= due) {
        tell_status(task);
    } else if (task->status_timer == NULL) {
        int r = sd_event_add_time(bus_event(task->host->bus), &task->status_timer, CLOCK_MONOTONIC,
                                  due, 0, on_status_timer, task);
        assert(r >= 0);
        (void)sd_event_source_set_description(task->status_timer, "task-status");
    }
}

void task_end_status(struct task *task)
{
    task->status_timer = sd_event_source_disable_unref(task->status_timer);
    free(task->status_text);
    task->status_text = NULL;
}

/* Once: systemd says it again after each reload. */
static void tell_ready(struct task *task)
{
    uint64_t now = clock_now_usec(CLOCK_REALTIME), started = task->unit.started_usec;
    struct pairs annotations = {};

    if (task->is_ready_told)
        return;
    task->is_ready_told = true;
    CLEANUP_FREE char *after = alloc_printf("%.1f s", started > 0 && now > started
                                                          ? (double)(now - started) / 1e6
                                                          : 0.0);
    pairs_set(&annotations, task->is_booted ? "boot_time" : "ready_after", after);
    task_tell(task, &annotations, task->is_booted ? "Booted in %s" : "Ready after %s", after);
    pairs_done(&annotations);
}

/* What nspawn says of itself has no prefix; of a booted system every step of its start would be
 * told, and "ready" is the one that counts. */
static void hear_status(struct task *task, const char *status)
{
    log_task_debug(task->spec.id, "nspawn: %s", status);
    if (!task->is_booted && strncmp(status, STATUS_PREFIX, strlen(STATUS_PREFIX)) == 0 &&
        status[strlen(STATUS_PREFIX)] != '\0')
        note_status(task, status + strlen(STATUS_PREFIX));
}

/* The first READY is nspawn's own, any other is passed on. */
static void on_notified(const struct notify_message *message, void *data)
{
    struct task *task = data;

    if (message->leader > 0)
        task_note_leader(task, message->leader);
    if (message->leader > 0 && task->state == TASK_STARTING && task->is_booted)
        (void)task_network_attach(task, message->leader);
    if (message->status != NULL)
        hear_status(task, message->status);
    if (!message->ready)
        return;
    if (task->state == TASK_STARTING && !task->is_ready) {
        task->is_ready = true;
        task_start_progress(task);
    } else if (task->state == TASK_STARTING || task->state == TASK_RUNNING) {
        tell_ready(task);
    }
}

int task_follow_notify(struct task *task, struct fail *reterr)
{
    CLEANUP_FREE char *path = alloc_printf("%s/" RUNTIME_DIR_NOTIFY, runtime_dir_path(task->dir));

    task->notify = notify_new(bus_event(task->host->bus), path, on_notified, task, reterr);
    return task->notify != NULL ? 0 : reterr->error;
}

/* A task whose main process was the one has ended by then, and Nomad tells that itself. */
#define OOM_SURVIVED_USEC (1 * UINT64_C(1000000))

static int on_oom_survived(sd_event_source *source, uint64_t usec, void *data)
{
    const struct task *task = data;

    (void)source;
    (void)usec;
    task_tell(task, NULL, "The kernel killed a process of the task: out of memory");
    return 0;
}

/* Told once, or a task that is killed piece by piece would push all else out of the few events that
 * Nomad keeps. */
static void on_oom_kill(uint64_t kills, void *data)
{
    struct task *task = data;

    (void)kills;
    task->oom = oom_watch_free(task->oom);
    int r = sd_event_add_time_relative(bus_event(task->host->bus), &task->oom_survived,
                                       CLOCK_MONOTONIC, OOM_SURVIVED_USEC, 0, on_oom_survived,
                                       task);
    assert(r >= 0);
    (void)sd_event_source_set_description(task->oom_survived, "task-oom-survived");
}

void task_follow_oom(struct task *task)
{
    CLEANUP_FREE char *path = task_cgroup_path(task);

    if (path == NULL)
        return;
    int r = oom_watch_new(bus_event(task->host->bus), path, on_oom_kill, task, &task->oom);
    if (r < 0 && r != -ENOENT) /* without the memory controller nothing is limited, nor killed */
        log_task_debug(task->spec.id, "cannot watch '%s' for kills: %s", path, strerror(-r));
}
