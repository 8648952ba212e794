/* What the job's options `bind` and `bind_read_only` bring into the container. */
#pragma once

#include "reactor/fail.h"
#include "tasks/mounts/binds.h"
#include "tasks/spec/task_options.h"

/* Added to `binds`. A relative host path is looked up below
 * `task_dir`, which is absolute, and may not lead out of it: the task itself writes there, and a
 * link that it left would be followed with the rights of root at its next start. Errors: a relative
 * path that leads out (-EXDEV), or is not there; as of binds_add. Absolute ones are taken as they
 * are. */
int job_binds_add(const struct task_options *config, const char *task_dir,
                  struct binds *binds, struct fail *reterr);
