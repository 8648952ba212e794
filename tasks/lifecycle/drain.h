/* The end of a container: its last output goes to Nomad, then the result is known. */
#pragma once

#include "tasks/lifecycle/task.h"

/* Sets task->exit from what is left of it; while the leader's descriptor and the stop are there. */
void drain_note_exit(struct task *task);
/* Raises LIFECYCLE_DRAINED when the collector has all output. */
void drain_begin(struct task *task);
