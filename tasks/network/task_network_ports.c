#include "tasks/network/task_network_ports.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/rtnl.h"
#include "tasks/kernel/sysctl.h"
#include "tasks/network/network_link.h"
#include "tasks/network/task_network_private.h"

const struct network_record *task_network_ports_record(const struct task_network *network)
{
    return networks_find(network->args.networks, network->args.machine);
}

void task_network_ports_fail(struct task_network *network, const struct fail *fail)
{
    network->args.events->failed(fail, network->args.data);
}

void task_network_ports_open_ways(const struct task_network *network)
{
    const struct network_record *record = task_network_ports_record(network);

    if (!network->is_published || record == NULL || record->n_ports == 0 ||
        network->host_link[0] == '\0')
        return;
    int hairpin = network_link_set_hairpin(network->netns_fd, record->link);
    if (hairpin < 0)
        log_task_warn(network->args.task,
                      "it may not reach its own ports by the host's addresses: %s",
                      strerror(-hairpin));
    if (record->share != NULL && !record->is_zone)
        return; /* the bridge is not ours */
    CLEANUP_FREE char *path = alloc_printf("net/ipv4/conf/%s/route_localnet", network->host_link);
    int r = sysctl_write(path, "1");
    if (r < 0)
        log_task_warn(network->args.task, "'%s': %s; its ports do not answer on 127.0.0.1", path,
                      strerror(-r));
}

static void on_published(const struct fail *fail, void *data)
{
    struct task_network *network = data;

    network->publishing = NULL;
    if (fail != NULL) {
        task_network_ports_fail(network, fail);
        return;
    }
    network->is_published = true;
    task_network_ports_open_ways(network);
    network->args.events->changed(network->args.data);
}

static void on_proxied(const struct fail *fail, void *data)
{
    struct task_network *network = data;

    network->proxies = NULL;
    network->is_proxied = true;
    if (fail != NULL)
        network->args.events->tell(NULL, fail_text(fail), network->args.data);
    network->args.events->changed(network->args.data);
}

/* As long as it is 1 the kernel reads advertisements only on a host that does not forward. Where
 * another program reads them it is 0. */
static bool needs_advertisements(struct rtnl *rtnl, unsigned index)
{
    struct rtnl_link link;
    char text[8];

    if (rtnl_find_index(rtnl, index, &link) < 0)
        return false;
    CLEANUP_FREE char *path = alloc_printf("net/ipv6/conf/%s/accept_ra", link.name);
    return sysctl_read(path, text, sizeof(text)) >= 0 && strcmp(text, "1") == 0;
}

/* Whether it would lose its way out. */
static bool depends_on_advertisements(void)
{
    int r = 0;
    CLEANUP(rtnl_closep) struct rtnl *rtnl = rtnl_open(-EBADF, &r);
    CLEANUP_FREE unsigned *indexes = NULL;
    size_t n = 0;

    if (rtnl == NULL || rtnl_list_advertised(rtnl, &indexes, &n) < 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (needs_advertisements(rtnl, indexes[i]))
            return true;
    return false;
}

/* Rather than cut the host off, the container's ports do not answer from outside by IPv6. */
static int forward_ipv6(const struct task_network *network)
{
    char text[8];

    if (sysctl_read("net/ipv6/conf/all/forwarding", text, sizeof(text)) >= 0 &&
        strcmp(text, "0") == 0 && depends_on_advertisements()) {
        log_task_info(network->args.task,
                      "IPv6 is not forwarded: the host has its route from a router's "
                      "advertisement, which it would lose; set accept_ra = 2 for the interface, "
                      "and net.ipv6.conf.all.forwarding = 1");
        return 0;
    }
    return sysctl_write("net/ipv6/conf/all/forwarding", "1");
}

static int forward(const struct task_network *network, const struct network_record *record,
                   struct fail *fail)
{
    int r = 0;

    if (address_is_set(&record->addresses[NETWORK_RECORD_IPV4]))
        r = sysctl_write("net/ipv4/ip_forward", "1");
    if (r >= 0 && address_is_set(&record->addresses[NETWORK_RECORD_IPV6]))
        r = forward_ipv6(network);
    return r < 0 ? fail_set(fail, r, "cannot let the host forward packets for the container: %s",
                            strerror(-r))
                 : 0;
}

int task_network_ports_publish(struct task_network *network, bool again, struct fail *fail)
{
    const struct network_record *record = task_network_ports_record(network);

    assert(record != NULL);
    network->is_addressed = true;
    if (record->n_ports == 0 && !address_is_set(&record->lease)) {
        network->is_published = network->is_proxied = true;
        return 0;
    }
    int r = forward(network, record, fail);
    if (r < 0)
        return r;
    if (network->publishing == NULL)
        network->publishing = networks_publish(network->args.networks, on_published, network);
    network->proxies = port_proxies_free(network->proxies);
    network->proxies = port_proxies_start(network->args.units, record, network->args.slice, again,
                                          on_proxied, network);
    network->is_proxied = network->proxies == NULL;
    return 0;
}

void task_network_ports_renew(struct task_network *network)
{
    const struct network_record *record = task_network_ports_record(network);

    if (record->n_ports > 0 || address_is_set(&record->lease))
        network->publishing = networks_publish(network->args.networks, on_published, network);
}

void task_network_ports_drop(struct task_network *network)
{
    network->publishing = packet_filter_op_free(network->publishing);
    network->proxies = port_proxies_free(network->proxies);
}
