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

const struct network_record *task_network_ports_record(const struct task *task)
{
    return networks_find(task->host->networks, task->machine);
}

void task_network_ports_fail(struct task *task, const struct fail *fail)
{
    if (task->state == TASK_STARTING) {
        fail_copy(&task->fail, fail);
        task_start_progress(task);
    } else {
        task_tell(task, NULL, "%s", fail_text(fail));
    }
}

void task_network_ports_open_ways(const struct task *task)
{
    const struct network_record *record = task_network_ports_record(task);

    if (!task->is_published || record == NULL || record->n_ports == 0 || task->host_link[0] == '\0')
        return;
    int hairpin = network_link_set_hairpin(task->netns_fd, record->link);
    if (hairpin < 0)
        log_task_warn(task->spec.id, "it may not reach its own ports by the host's addresses: %s",
                      strerror(-hairpin));
    if (record->share != NULL && !record->is_zone)
        return; /* the bridge is not ours */
    CLEANUP_FREE char *path = alloc_printf("net/ipv4/conf/%s/route_localnet", task->host_link);
    int r = sysctl_write(path, "1");
    if (r < 0)
        log_task_warn(task->spec.id, "'%s': %s; its ports do not answer on 127.0.0.1", path,
                      strerror(-r));
}

static void on_published(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->publishing = NULL;
    if (fail != NULL) {
        task_network_ports_fail(task, fail);
        return;
    }
    task->is_published = true;
    task_network_ports_open_ways(task);
    task_start_progress(task);
}

static void on_proxied(const struct fail *fail, void *data)
{
    struct task *task = data;

    task->proxies = NULL;
    task->is_proxied = true;
    if (fail != NULL)
        task_tell(task, NULL, "%s", fail_text(fail));
    task_start_progress(task);
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
static int forward_ipv6(const struct task *task)
{
    char text[8];

    if (sysctl_read("net/ipv6/conf/all/forwarding", text, sizeof(text)) >= 0 &&
        strcmp(text, "0") == 0 && depends_on_advertisements()) {
        log_task_info(task->spec.id,
                      "IPv6 is not forwarded: the host has its route from a router's "
                      "advertisement, which it would lose; set accept_ra = 2 for the interface, "
                      "and net.ipv6.conf.all.forwarding = 1");
        return 0;
    }
    return sysctl_write("net/ipv6/conf/all/forwarding", "1");
}

static int forward(const struct task *task, const struct network_record *record, struct fail *fail)
{
    int r = 0;

    if (address_is_set(&record->addresses[NETWORK_RECORD_IPV4]))
        r = sysctl_write("net/ipv4/ip_forward", "1");
    if (r >= 0 && address_is_set(&record->addresses[NETWORK_RECORD_IPV6]))
        r = forward_ipv6(task);
    return r < 0 ? fail_set(fail, r, "cannot let the host forward packets for the container: %s",
                            strerror(-r))
                 : 0;
}

int task_network_ports_publish(struct task *task, bool again, struct fail *fail)
{
    const struct network_record *record = task_network_ports_record(task);

    assert(record != NULL);
    task->is_addressed = true;
    if (record->n_ports == 0 && !address_is_set(&record->lease)) {
        task->is_published = task->is_proxied = true;
        return 0;
    }
    int r = forward(task, record, fail);
    if (r < 0)
        return r;
    if (task->publishing == NULL)
        task->publishing = networks_publish(task->host->networks, on_published, task);
    task->proxies = port_proxies_free(task->proxies);
    task->proxies = port_proxies_start(task->host->units, record, task->slice, again, on_proxied,
                                       task);
    task->is_proxied = task->proxies == NULL;
    return 0;
}

void task_network_ports_renew(struct task *task)
{
    const struct network_record *record = task_network_ports_record(task);

    if (record->n_ports > 0 || address_is_set(&record->lease))
        task->publishing = networks_publish(task->host->networks, on_published, task);
}

void task_network_ports_drop(struct task *task)
{
    task->publishing = packet_filter_op_free(task->publishing);
    task->proxies = port_proxies_free(task->proxies);
}
