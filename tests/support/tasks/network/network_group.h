/* What the network of a task is planned from: a group of Nomad's with ports, and the options of a
 * job. */
#pragma once

#include "reactor/fail.h"
#include "tasks/network/network_plan.h"

/* In the host's network, with three ports: http (20001 of 198.51.100.1 to 80), admin (20002 of a
 * loopback), any (20003 of all addresses to 9000). In memory of the caller, not to be moved. */
struct network_group {
    struct task_spec spec;
    struct task_port ports[3];
};

void network_group_init(struct network_group *group);
/* Nomad made a namespace for it. */
void network_group_init_joined(struct network_group *group);

/* `options` as they stand in a config behind the image, through task_options_check; the result is
 * that of the first that refuses. */
int network_group_plan(const struct network_group *group, const char *options,
                       struct network_plan *ret, struct task_options *ret_config,
                       struct fail *fail);
/* Fails the running test unless there is one, or it is refused with this sentence. */
struct network_plan network_group_expect(const struct network_group *group, const char *options);
void network_group_expect_refused(const struct network_group *group, const char *options, int error,
                                  const char *text);
