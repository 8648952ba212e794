/* The network of one task, from its start to its end. Which one it is, its plan says.
 * Owner: the task. It knows no task and no flow: it answers by callbacks, all from the loop. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "reactor/bus.h"
#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/network/network_plan.h"
#include "tasks/network/networks.h"
#include "tasks/network/task_network_address.h"
#include "tasks/systemd/unit.h"

struct task_network;

struct task_network_events {
    /* Something for which a start waits has come. */
    void (*changed)(void *data);
    void (*failed)(const struct fail *fail, void *data);
    /* To be told to the job's author. */
    void (*tell)(const struct pairs *annotations, const char *text, void *data);
};

/* All is borrowed, for as long as the network lives. */
struct task_network_args {
    struct bus *bus;
    struct units *units;
    struct networks *networks;
    const struct plugin_config *config;
    const char *task; /* id, for log lines */
    const char *machine, *slice;
    const struct task_network_events *events;
    void *data; /* of the events */
};

/* What is known of the task's networks so far is its record in `networks`, if there is one. */
struct task_network *task_network_new(const struct task_network_args *args);
/* What is published stays so. */
struct task_network *task_network_free(struct task_network *network);
/* Waits no more, calls nobody; what is published stays so. */
void task_network_drop(struct task_network *network);

typedef void (*task_network_done_fn)(void *data);

/* --- a start: see also task_network_prepare.h ------------------------------------------------ */

/* Takes the content of `plan`; before all else. */
void task_network_plan_set(struct task_network *network, struct network_plan *plan);
const struct network_plan *task_network_plan(const struct task_network *network);

/* Our name for the host's end of the link; NULL: nspawn's own. */
const char *task_network_veth(const struct task_network *network);

/* The container is there, and none of its programs yet: `pid` is any process of it. False: it
 * failed, as was told by `failed`. */
bool task_network_attach(struct task_network *network, pid_t pid, bool is_booted);
/* All that the start waits for is so. Begins to count the time when the rest of it is there. */
bool task_network_is_up(struct task_network *network);
/* The task runs: tells the address, and from now on each other one. */
void task_network_tell(struct task_network *network);
/* Strings and list are valid until the next change; *ret_ports and *ret_address are heap. */
void task_network_describe(const struct task_network *network, struct task_network_address *ret,
                           struct task_network_port **ret_ports, char **ret_address);

/* --- later ----------------------------------------------------------------------------------- */

/* Of a task that was found again and runs; `leader`: 0 when not known. */
void task_network_follow(struct task_network *network, pid_t leader);
/* The container is no more: its ports and addresses are given back. */
void task_network_end(struct task_network *network);
/* The same, and waits until others have been told of that. Answers 0: done, or 1: `done` will be
 * called. */
int task_network_clear(struct task_network *network, task_network_done_fn done, void *data);
