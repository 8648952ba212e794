/* What is made of a task's network before its container is there: where addresses come from, which
 * one it gets, what is published. Part of task_network.h.
 *
 * Where they answer 1, `done` will be called; 0: done; negative errno with `fail`. */
#pragma once

#include "tasks/network/task_network.h"

/* See where addresses come from on this host. */
int task_network_prepare_mode(struct task_network *network, task_network_done_fn done, void *data);
/* Take an address, note the ports. `group_path`: of the namespace of Nomad's group, or NULL. */
int task_network_prepare_link(struct task_network *network, const struct task_options *options,
                              const char *group_path, task_network_done_fn done, void *data,
                              struct fail *fail);

/* Keeps systemd-networkd off what is ours, be it that it runs now or later. 1: it is told, which
 * task_network_prepare_await waits for. */
int task_network_prepare_disown(struct task_network *network, struct fail *fail);
/* Answers 1. */
int task_network_prepare_await(struct task_network *network, task_network_done_fn done, void *data);
