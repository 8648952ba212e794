#include "tasks/lifecycle/drain.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/inside/init_link.h"
#include "tasks/lifecycle/stop.h"
#include "tasks/nspawn/leader.h"
#include "tasks/nspawn/nspawn_words.h"
#include "tasks/resources/oom.h"

static void set_exit(struct task *task, int wait_status)
{
    bool is_killed = WIFSIGNALED(wait_status);

    task->exit.signal = is_killed ? WTERMSIG(wait_status) : 0;
    task->exit.exit_code = is_killed ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* What the init of a single process has left: exact, also when the unit is gone. */
static bool take_init_status(struct task *task)
{
    int status;

    if (task->is_booted || init_link_read_status(runtime_dir_fd(task->dir), &status) < 0)
        return false;
    set_exit(task, status);
    return true;
}

/* reboot(2) inside ends PID 1, and how is not in what the kernel keeps: it shows SIGKILL, or 0 of a
 * PID 1 that has called it itself. wait() alone has one of the two signals that tell power-off from
 * reboot, and from that nspawn, its parent, makes its own exit code. A PID 1 that
 * was killed makes it fail. */
static bool may_be_reboot(const struct task *task, int status)
{
    const struct unit_state *unit = &task->unit;

    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGHUP || WTERMSIG(status) == SIGINT))
        return true;
    if (!unit_state_has_ended(unit))
        return false;
    bool is_asked_for = unit->exit_code == CLD_EXITED &&
                        (unit->exit_status == 0 || unit->exit_status == NSPAWN_WORDS_EXIT_REBOOT);
    return status == 0 || (status == SIGKILL && is_asked_for);
}

static bool take_leader_status(struct task *task)
{
    int status;

    if (task->leader_fd < 0 || leader_status(task->leader_fd, &status) < 0 ||
        may_be_reboot(task, status))
        return false;
    set_exit(task, status);
    return true;
}

/* What nspawn makes of a leader that was killed, or nspawn killed itself; and by us. */
static bool take_kill(struct task *task)
{
    const struct unit_state *unit = &task->unit;

    if (task->stop == NULL || !stop_has_killed(task->stop) ||
        (unit->exit_code == CLD_EXITED && unit->exit_status != 1))
        return false;
    set_exit(task, SIGKILL);
    return true;
}

/* nspawn's exit is the container's (systemd-nspawn(1), "Exit status"); a signal ended nspawn
 * itself. */
void drain_note_exit(struct task *task)
{
    const struct unit_state *unit = &task->unit;

    task->completed_usec = unit->exited_usec;
    if (take_init_status(task)) {
        log_task_debug(task->spec.id, "the init has left the exit status");
    } else if (take_leader_status(task)) {
        log_task_debug(task->spec.id, "the kernel has kept the exit status");
    } else if (take_kill(task)) {
        log_task_debug(task->spec.id, "it was killed by us");
    } else if (!unit_state_has_ended(unit)) {
        task_set_exit_error(task, "systemd no longer knows the task's unit: somebody stopped and "
                                  "removed it, and its exit status is lost");
    } else if (unit->exit_code == CLD_EXITED) {
        task->exit.exit_code = unit->exit_status;
    } else {
        task->exit.signal = unit->exit_status;
        task->exit.exit_code = 128 + unit->exit_status;
    }
    task->exit.oom_killed = strcmp(unit->result, "oom-kill") == 0;
}

/* The slice outlives the unit, so this can't come too late. */
static void note_oom(struct task *task)
{
    CLEANUP_FREE char *path = task_cgroup_path(task);
    uint64_t kills = 0;

    if (path != NULL && oom_read(path, &kills) >= 0 && kills > 0 && task->exit.exit_code != 0)
        task->exit.oom_killed = true;
}

static void tell_exec_failure(const struct task *task)
{
    CLEANUP_FREE char *line = task->logs != NULL ? task_logs_last_line(task->logs) : NULL;
    CLEANUP_FREE char *command = NULL;
    const char *reason;

    if (line != NULL && task->exit.exit_code != 0 &&
        nspawn_words_exec_failure(line, &command, &reason))
        task_tell_not_executed(task, command, reason);
}

static void on_drained(const struct fail *fail, void *data)
{
    struct task *task = data;

    if (fail != NULL)
        log_task_warn(task->spec.id, "cannot release the log FIFOs: %s, ignoring", fail_text(fail));
    tell_exec_failure(task);
    note_oom(task);
    task->logs = task_logs_free(task->logs);
    task_raise(task, LIFECYCLE_DRAINED, NULL);
}

void drain_begin(struct task *task)
{
    task_logs_finish(task->logs, on_drained, task);
}
