/* systemd-nspawn's command line for a task. Reads all, changes nothing. */
#pragma once

#include "reactor/strv.h"
#include "tasks/lifecycle/task.h"
#include "tasks/mounts/task_dirs.h"
#include "tasks/spec/task_options.h"

struct start_argv {
    const struct task *task;
    const struct task_options *options;
    const struct task_dirs *dirs;
    const struct network_plan *plan;
    const char *veth;  /* our name for the host's end of the link; NULL: nspawn's own */
    bool has_resolver; /* /etc/resolv.conf inside is a file of ours */
};

void start_argv_make(const struct start_argv *start, struct strv *ret);
