/* What must hold for the command line of any configuration that passes task_options_check. */
#pragma once

#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/spec/task_options_check.h"

void command_line_check(const struct task_options *config, const struct nspawn_run *run);
