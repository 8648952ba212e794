/* Signals to the processes of a task. What has to be in time goes to them by pidfd, never over the
 * bus: systemd may be re-executing, and then answers seconds later. */
#pragma once

#include "tasks/lifecycle/task.h"

/* To the container's PID 1. -ESRCH: it is not known, or has ended. */
int task_kill_leader(const struct task *task, int signal);
/* To the process that is "the task": the init's child, or PID 1 itself. */
int task_kill_payload(const struct task *task, int signal);
/* Kills all processes of the container but nspawn. -ENOENT: there are none, or the kernel can't. */
int task_kill_inside(const struct task *task);
/* As Nomad asks for it, with a sentence. */
int task_kill_signal(const struct task *task, int signal, struct fail *reterr);
