/* What Nomad grants a task, as limits of its unit. */
#pragma once

#include "reactor/fail.h"
#include "tasks/spec/task_spec.h"
#include "tasks/systemd/unit_properties.h"

/* Adds nothing for what is not known. -EINVAL: the cpuset is none. */
int limits_add(const struct task_resources *resources, struct unit_properties *properties,
               struct fail *reterr);
