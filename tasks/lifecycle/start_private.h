/* What the files of a start share: start.c, start_prepare.c, start_container.c. */
#pragma once

#include "reactor/flow.h"
#include "tasks/lifecycle/clear.h"
#include "tasks/lifecycle/start.h"
#include "tasks/lifecycle/start_payload.h"
#include "tasks/mounts/task_dirs.h"
#include "tasks/spec/task_options.h"
#include "tasks/systemd/machined.h"

struct start {
    struct task *task;
    struct task_options options;
    struct task_asker asker; /* with why it failed */
    struct flow *flow;

    /* What a step waits for. */
    struct bus_watch *bus_watch;
    sd_event_source *bus_deadline;
    struct runtime_dir_op *dir_op;
    struct clear *clear;
    struct machined_op *machined;
    struct unit_op *op;

    /* What steps make for later ones. */
    struct task_dirs dirs;
    bool has_resolver; /* /etc/resolv.conf inside is a file of ours */
    struct start_payload *payload;
    struct strv argv;

    bool is_started; /* systemd has started the container */
    bool is_awaited; /* what is heard of it may be what a step waits for */
};
