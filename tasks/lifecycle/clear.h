/* Clears away what a task left, or half made: processes, units, slice, copies. Every step takes
 * what is not there, and none of them fails. A start does it with what an earlier one left, a
 * removal with all that is there. */
#pragma once

#include "tasks/lifecycle/task.h"

struct clear;
typedef void (*clear_done_fn)(void *data);

/* Ops: exactly one of `done` and clear_free ends one. The container, its units, its slice. */
struct clear *clear_units(struct task *task, clear_done_fn done, void *data);
/* These, and the copies of its image, its last output, its network. */
struct clear *clear_all(struct task *task, clear_done_fn done, void *data);
struct clear *clear_free(struct clear *clear);
