/* Commands that are executed in the container of a running task: `nomad alloc exec` and script
 * checks. The services see tasks/driver.h. Owner: whoever started it; it ends with its task at the
 * latest. */
#pragma once

#include "tasks/driver.h"
#include "tasks/lifecycle/task.h"

/* -ESRCH: the task does not run. */
int exec_start(struct task *task, const struct exec_args *args, const struct exec_events *events,
               void *data, struct exec **ret, struct fail *reterr);
/* Ends all of a task's with this failure. */
void exec_end_all(struct task *task, const char *why);
