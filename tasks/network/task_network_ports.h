/* What is published of a task, and the ways to it: the packet filter, proxies on the loopback, what
 * the host forwards. Part of its network (task_network.h). */
#pragma once

#include "tasks/network/task_network.h"

/* NULL: the task has no network of ours. Borrowed until the next change. */
const struct network_record *task_network_ports_record(const struct task_network *network);
/* Something of the network has failed: tells whoever owns it. */
void task_network_ports_fail(struct task_network *network, const struct fail *fail);

/* The container has an address, or another one. `again`: it had one before. */
int task_network_ports_publish(struct task_network *network, bool again, struct fail *fail);
/* Makes the rules again, whatever there is: somebody may have flushed them. */
void task_network_ports_renew(struct task_network *network);
/* Of 127.0.0.1 to the container, and of the container to itself; after the rules are in force,
 * which keep what is on the host's loopback from the container. Fine to call too early. */
void task_network_ports_open_ways(const struct task_network *network);
/* Waits no more; what is published stays. */
void task_network_ports_drop(struct task_network *network);
