/* Removing all that a task left or half made, files last. It also undoes a start that failed.
 * Raises LIFECYCLE_REMOVED. Owner: the task. */
#pragma once

#include "tasks/lifecycle/task.h"

/* Of a task whose flows have all been freed. Takes over `asker`, which may be NULL: who asked for
 * the start that failed is told when all has been cleared away. */
struct removal *removal_new(struct task *task, struct task_asker *asker);
/* Of a task that nobody knows any more: what is there is removed if it is of this very start. */
struct removal *removal_new_lost(struct task *task);
struct removal *removal_free(struct removal *removal);
/* Tells who asked for the start why it failed, if there is one; `fail`: NULL for what it says
 * itself. */
void removal_answer(struct removal *removal, const struct fail *fail);
