/* From a task to the command line of the unit that runs it. Reads the task, changes nothing. */
#pragma once

#include "reactor/strv.h"
#include "tasks/lifecycle/task.h"

/* systemd-nspawn's command line for the task. */
void start_argv_make(const struct task *task, struct strv *argv);
