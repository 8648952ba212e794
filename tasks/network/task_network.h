/* The network of one task, from its start to its end. Which one it is, its plan says. */
#pragma once

#include "tasks/driver.h"
#include "tasks/lifecycle/task.h"

/* --- a start --------------------------------------------------------------------------------- */

/* Steps: see where addresses come from on this host; take an address, note the ports; make what the
 * task finds in /etc/hosts and /etc/resolv.conf. */
int task_network_decide(void *task, struct fail *fail);
int task_network_prepare(void *task, struct fail *fail);
int task_network_name(void *task, struct fail *fail);

/* The container is there, and none of its programs yet: `pid` is any process of it. False: it
 * failed, and the task's failure says why. */
bool task_network_attach(struct task *task, pid_t pid);
/* All that the start waits for is so. Begins to count the time when the rest of it is there. */
bool task_network_is_up(struct task *task);
/* Tells the address to the job's author. */
void task_network_tell(const struct task *task);
/* For Nomad; strings and list are valid until the next change, *ret_ports is heap. */
void task_network_describe(const struct task *task, struct driver_network *ret,
                           struct driver_network_port **ret_ports, char **ret_address);

/* --- later ----------------------------------------------------------------------------------- */

/* A step of a recovery. */
int task_network_follow(void *task, struct fail *fail);
/* The container is no more: its ports and addresses are given back. */
void task_network_end(struct task *task);
/* A step of the removal: waits until others have been told of that. */
int task_network_clear(void *task, struct fail *fail);
/* Lets go; what is published stays. */
void task_network_drop(struct task *task);
