/* What task_network.c and task_network_ports.c share. */
#pragma once

#include <net/if.h>

#include "tasks/kernel/address_watch.h"
#include "tasks/network/port_proxies.h"
#include "tasks/network/task_network.h"
#include "tasks/systemd/networkd.h"

struct task_network {
    struct task_network_args args;
    struct network_plan plan; /* empty when recovered */
    char *veth;
    bool is_addressed, is_published, is_proxied;
    bool is_told; /* the task runs, and its author knows the address */
    int netns_fd; /* while its addresses are followed */
    char host_link[IFNAMSIZ];
    struct address_watch *addresses;
    struct packet_filter_op *publishing;
    struct port_proxies *proxies;
    struct networkd_op *networkd;
    task_network_done_fn done; /* of who waits for networkd; NULL: nobody does */
    void *done_data;
    sd_event_source *late;
};
