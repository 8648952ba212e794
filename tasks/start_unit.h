/* From a task to the unit that runs it: what is bound, command line, limits. Reads the task, changes nothing. */
#pragma once

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/task.h"

/* All that is bound into the container, appended to `binds`: Nomad's own, then the job's. */
void start_unit_binds(const struct task *task, struct nspawn_binds *binds);
/* systemd-nspawn's command line for the task. */
void start_unit_argv(const struct task *task, struct strv *argv);
/* Nomad's resources as unit properties. */
void start_unit_limits(const struct task_resources *resources, struct unit_service *service);
