/* What Nomad may ask for beside the options (those: task_options_check) and this driver can't give.
 * Pure. */
#pragma once

#include "reactor/fail.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_spec.h"

/* -EOPNOTSUPP or -EINVAL with a sentence that names what was asked and what to do. */
int task_check(const struct task_spec *spec, const struct plugin_config *plugin,
               struct fail *reterr);
