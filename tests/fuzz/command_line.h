/* What must hold for the command line of any configuration that passes nspawn_check. */
#pragma once

#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/spec/nspawn_check.h"

void command_line_check(const struct nspawn_config *config, const struct nspawn_run *run);
