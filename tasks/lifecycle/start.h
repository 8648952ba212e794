/* Starting a task: the steps, in order, and all that lives only during a start. Raises
 * LIFECYCLE_STARTED or LIFECYCLE_START_FAILED. Owner: the task; to free it is to cancel the start.
 * What it has made by then stays, for a removal. */
#pragma once

#include "tasks/lifecycle/task.h"

struct start;

/* Decodes and checks the config of the task's spec; then the steps run from the loop. On error
 * nothing was begun, and `done` is not called. */
int start_new(struct task *task, task_started_fn done, void *data, struct start **ret,
              struct fail *reterr);
struct start *start_free(struct start *start);

/* All is there: notes in the task what was started, and answers who asked. */
void start_finish(struct start *start);
/* After that, when the task runs: tells how the start of the command went. */
void start_tell(const struct start *start);
/* Who is to be told why it failed; `why`: when it has not failed by itself. Valid until the start
 * is freed. */
struct task_asker *start_asker(struct start *start, const struct fail *why);
