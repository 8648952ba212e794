/* SIGSTOP and SIGCONT: the container as a whole, by systemd's freezer. Owner: the task; it is made
 * when it is first asked for, and freed when the container has ended. */
#pragma once

#include "tasks/lifecycle/task.h"

/* `signal`: SIGSTOP or SIGCONT. An error: `done` is not called. */
int freeze_ask(struct task *task, int signal, task_done_fn done, void *data, struct fail *reterr);
/* What is frozen handles no signal: to be called before a stop. Also thaws what somebody else
 * froze, or a plugin before us. */
void freeze_end(struct task *task);
/* Whoever waits is told why it does not come. */
struct freeze *freeze_free(struct freeze *freeze, const char *why);
