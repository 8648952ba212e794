/* From a task to the unit that runs it: command line, limits. Reads the task, changes nothing. */
#pragma once

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/lifecycle/task.h"

/* systemd-nspawn's command line for the task. */
void start_argv_make(const struct task *task, struct strv *argv);
/* Nomad's resources as unit properties. */
void start_argv_limits(const struct task_resources *resources, struct unit_service *service);
