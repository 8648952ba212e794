/* Nomad's volumes of a task. */
#pragma once

#include <stdbool.h>

#include "reactor/fail.h"
#include "tasks/mounts/binds.h"
#include "tasks/spec/task_spec.h"

/* Adds the mounts of `spec`, which has passed task_spec_check. In a user namespace they have the
 * owners that they have on the host, where their file system can be ID-mapped; else what is in them
 * is nobody's. As of binds_add. */
int volumes_add(const struct task_spec *spec, bool user_namespace, struct binds *binds,
                struct fail *reterr);
