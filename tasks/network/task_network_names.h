/* What a task in a network of Nomad's finds in /etc/hosts and /etc/resolv.conf. */
#pragma once

#include <stdbool.h>

#include "reactor/fail.h"
#include "tasks/mounts/binds.h"
#include "tasks/network/network_plan.h"

struct task_network_names_args {
    const struct network_plan *plan;
    const struct task_spec *spec;
    const struct task_options *options;
    const char *machine;
    const char *dir_path; /* the task's runtime directory, where the files are made */
};

/* Makes the files that the task needs and adds their binds, unless a bind of Nomad's or the job's
 * has their place. Answers 1 when /etc/resolv.conf is one of them, else 0. */
int task_network_names_make(const struct task_network_names_args *args, struct binds *binds,
                            struct fail *reterr);
