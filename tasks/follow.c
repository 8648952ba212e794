/* What systemd and nspawn say of a container while it lives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/nspawn_settings.h"
#include "tasks/task.h"

void task_handle_unit(struct task *task)
{
    if (task->unit.started_usec > 0)
        task->started_usec = task->unit.started_usec;
    if (unit_state_has_ended(&task->unit) || !task->unit.loaded)
        task_drain(task);
}

static void on_notified(const struct notify_message *message, void *data)
{
    struct task *task = data;

    if (message->leader > 0)
        task->leader = message->leader;
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

void task_remove_settings(const struct task *task)
{
    CLEANUP_FREE char *path = alloc_printf(NSPAWN_SETTINGS_DIR "/%s.nspawn", task->machine);

    if (unlink(path) < 0 && errno != ENOENT)
        log_task_warn(task->spec.id, "cannot remove '%s': %s, ignoring", path, strerror(errno));
}
