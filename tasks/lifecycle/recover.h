/* Finding a task again after the plugin or the agent was restarted. Everything is where it was: the
 * unit with systemd, the FIFOs and their names in the runtime directory. Raises LIFECYCLE_RECOVERED
 * or LIFECYCLE_NOT_RECOVERED. Owner: the task. */
#pragma once

#include "tasks/lifecycle/task.h"

/* From what Nomad has kept. An error: nothing was begun, and `done` is not called. */
int recovery_new(struct task *task, const uint8_t *driver_state, size_t n_bytes, task_done_fn done,
                 void *data, struct recovery **ret, struct fail *reterr);
struct recovery *recovery_free(struct recovery *recovery);

void recovery_handle_unit(struct recovery *recovery);
/* Tells who asked, once; NULL: success. */
void recovery_answer(struct recovery *recovery, const struct fail *fail);
/* Why it failed. */
const struct fail *recovery_failure(const struct recovery *recovery);
