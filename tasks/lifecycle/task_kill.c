#include "tasks/lifecycle/task_kill.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/nspawn/leader.h"
#include "tasks/spec/signal_name.h"

int task_kill_leader(const struct task *task, int signal)
{
    if (task->leader_fd >= 0)
        return leader_signal(task->leader_fd, signal);
    /* Found again, but not yet known to be nspawn's child. */
    if (task->leader == 0)
        return -ESRCH;
    return leader_kill_child(task->unit.main_pid, task->leader, signal);
}

/* One that has been said to be the leader, and is not held yet, may be anybody's process. */
static int check_leader(const struct task *task)
{
    if (task->leader_fd >= 0)
        return 0;
    if (task->leader == 0)
        return -ESRCH;
    CLEANUP_CLOSE int fd = leader_open(task->leader, task->unit.main_pid, task->names.unit);
    return fd < 0 ? fd : 0;
}

int task_kill_payload(const struct task *task, int signal)
{
    pid_t child;

    if (!task->is_under_init)
        return task_kill_leader(task, signal);
    int r = check_leader(task);
    if (r >= 0)
        r = leader_find_child(task->leader, &child);
    return r < 0 ? r : leader_kill_child(task->leader, child, signal);
}

int task_kill_inside(const struct task *task)
{
    CLEANUP_FREE char *unit = task_unit_cgroup_path(task);

    if (unit == NULL)
        return -ENOENT;
    CLEANUP_FREE char *path = alloc_printf("%s/payload/cgroup.kill", unit);
    return file_set(AT_FDCWD, path, "1");
}

int task_kill_signal(const struct task *task, int signal, struct fail *reterr)
{
    CLEANUP_FREE char *name = signal_name_format(signal);

    if (!task_is_alive(task))
        return fail_set(reterr, -ESRCH, "the task has ended");
    int r = task_kill_payload(task, signal);
    if (r < 0)
        return fail_set(reterr, r, "cannot send %s: %s", name,
                        r == -ESRCH || r == -EAGAIN ? "the task's process is not there"
                                                    : strerror(-r));
    return 0;
}
