/* What systemd, nspawn and the kernel say of a container while it lives. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/leader.h"
#include "tasks/task.h"

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

static void on_notified(const struct notify_message *message, void *data)
{
    struct task *task = data;

    if (message->leader > 0)
        task_note_leader(task, message->leader);
    if (message->status != NULL)
        log_task_debug(task->spec.id, "nspawn: %s", message->status);
    if (message->ready && task->state == TASK_STARTING && !task->is_ready) {
        task->is_ready = true;
        task_start_progress(task);
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
