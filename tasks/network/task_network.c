#include "tasks/network/task_network.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/netns.h"
#include "tasks/network/booted_network.h"
#include "tasks/network/network_link.h"
#include "tasks/network/task_network_ports.h"
#include "tasks/network/task_network_prepare.h"
#include "tasks/network/task_network_private.h"

/* --- the container's end --------------------------------------------------------------------- */

static bool is_same(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->prefix == b->prefix &&
           (!address_is_set(a) || address_is_same(a, b));
}

static void tell(const struct task_network *network, const struct pairs *annotations,
                 const char *text)
{
    network->args.events->tell(annotations, text, network->args.data);
}

void task_network_tell(struct task_network *network)
{
    const struct network_record *record = task_network_ports_record(network);
    CLEANUP(strv_done) struct strv texts = {};
    struct pairs annotations = {};

    network->is_told = true;
    for (size_t i = 0; record != NULL && i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&record->addresses[i]))
            strv_push_owned(&texts, address_text(&record->addresses[i]));
    if (texts.n_items == 0) {
        if (network->plan.needs_address && !network->is_addressed)
            tell(network, NULL, "The container ended before it had an address");
        return;
    }
    CLEANUP_FREE char *list = strv_join(&texts, ", ");
    CLEANUP_FREE char *text = alloc_printf("Address: %s", list);
    pairs_set(&annotations, "address", list);
    tell(network, &annotations, text);
    pairs_done(&annotations);
}

static int note_addresses(struct task_network *network, const struct network_record *record,
                          const struct address *addresses, struct fail *fail)
{
    CLEANUP(network_record_done) struct network_record changed = {};
    bool again = network->is_addressed;

    network_record_copy(record, &changed);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        changed.addresses[i] = addresses[i];
    int r = networks_set(network->args.networks, &changed, fail);
    bool has_any = address_is_set(&addresses[NETWORK_RECORD_IPV4]) ||
                   address_is_set(&addresses[NETWORK_RECORD_IPV6]);
    if (r >= 0 && has_any)
        r = task_network_ports_publish(network, again, fail);
    return r;
}

static void on_addresses(void *data)
{
    struct task_network *network = data;
    const struct network_record *record = task_network_ports_record(network);
    struct address addresses[NETWORK_RECORD_FAMILIES];
    CLEANUP_FAIL struct fail fail = {};

    if (record == NULL || network_link_read(network->netns_fd, record->link, addresses) < 0)
        return; /* the link is not there yet, or not any more */
    if (is_same(&addresses[0], &record->addresses[0]) &&
        is_same(&addresses[1], &record->addresses[1]))
        return;
    if (note_addresses(network, record, addresses, &fail) < 0) {
        task_network_ports_fail(network, &fail);
        return;
    }
    if (network->is_told)
        task_network_tell(network);
    network->args.events->changed(network->args.data);
}

static int follow(struct task_network *network, pid_t pid, struct fail *fail)
{
    const struct network_record *record = task_network_ports_record(network);
    int r = 0;

    network->netns_fd = netns_open(pid);
    if (network->netns_fd < 0)
        return fail_set_recoverable(fail, network->netns_fd,
                                    "cannot reach the container's network: %s",
                                    strerror(-network->netns_fd));
    if (network_link_find_host(network->netns_fd, record->link, network->host_link) < 0)
        network->host_link[0] = '\0';
    network->addresses = address_watch_new(bus_event(network->args.bus), network->netns_fd,
                                           on_addresses, network, &r);
    return r < 0 ? fail_set_recoverable(fail, r, "cannot follow the container's addresses: %s",
                                        strerror(-r))
                 : 0;
}

static void set_ends(const struct task_network *network, struct network_link *link)
{
    const struct network_record *record = task_network_ports_record(network);
    const struct network_plan *plan = &network->plan;
    size_t family = plan->gateway.family == AF_INET6 ? NETWORK_RECORD_IPV6 : NETWORK_RECORD_IPV4;

    *link = (struct network_link){
        .name = record->link,
        .is_routed = network_kinds[plan->kind].is_pair,
    };
    memcpy(link->addresses, record->addresses, sizeof(link->addresses));
    if (plan->mode == NETWORK_MODE_AUTO) {
        networks_hosts(network->args.networks, record, link->hosts);
        memcpy(link->gateways, link->hosts, sizeof(link->gateways));
    } else if (address_is_set(&plan->gateway)) {
        link->gateways[family] = plan->gateway;
        if (link->is_routed) {
            link->hosts[family] = plan->gateway;
            link->hosts[family].prefix = plan->address.prefix;
        }
    }
}

static int attach(struct task_network *network, pid_t pid, bool is_booted, struct fail *fail)
{
    int r = follow(network, pid, fail);

    if (r < 0 || network->plan.mode == NETWORK_MODE_DHCP)
        return r;
    struct network_link link;
    set_ends(network, &link);
    r = network_link_set_up(network->netns_fd, &link, fail);
    int told = r >= 0 && is_booted ? booted_network_keep(pid, link.name) : 0;
    if (told < 0)
        log_task_info(network->args.task,
                      "a systemd-networkd in the container is not told to keep its "
                      "addresses: %s",
                      strerror(-told));
    return r;
}

static bool has_ended(pid_t pid)
{
    CLEANUP_CLOSE int fd = netns_open(pid);

    return fd == -ENOENT || fd == -ESRCH;
}

bool task_network_attach(struct task_network *network, pid_t pid, bool is_booted)
{
    const struct network_record *record = task_network_ports_record(network);
    CLEANUP_FAIL struct fail fail = {};

    if (record == NULL || network->netns_fd >= 0)
        return true;
    if (attach(network, pid, is_booted, &fail) >= 0) {
        task_network_ports_open_ways(network);
        return true;
    }
    if (has_ended(pid))
        return true; /* which its end will tell */
    task_network_ports_fail(network, &fail);
    return false;
}

static int on_late(sd_event_source *source, uint64_t usec, void *data)
{
    struct task_network *network = data;
    const struct network_record *record = task_network_ports_record(network);
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    network->late = sd_event_source_disable_unref(network->late);
    (void)fail_set_recoverable(
        &fail, -ETIMEDOUT,
        "the container has no address on '%s' after %.3g s (network_timeout), and its ports "
        "need one: run a DHCP client in it and serve DHCP, or set network_address = \"auto\"",
        record != NULL ? record->link : "host0", (double)network->plan.timeout_usec / 1e6);
    task_network_ports_fail(network, &fail);
    return 0;
}

bool task_network_is_up(struct task_network *network)
{
    if (network->is_addressed) {
        network->late = sd_event_source_disable_unref(network->late);
        return network->is_published && network->is_proxied;
    }
    if (!network->plan.needs_address)
        return true;
    if (network->late == NULL) {
        int r = sd_event_add_time_relative(bus_event(network->args.bus), &network->late,
                                           CLOCK_MONOTONIC, network->plan.timeout_usec, 0, on_late,
                                           network);
        assert(r >= 0);
        (void)sd_event_source_set_description(network->late, "task-address-late");
    }
    return false;
}

/* --- for Nomad ------------------------------------------------------------------------------- */

/* Others can reach the container by its address only where that is not of this host's making. */
static bool is_reachable(const struct network_plan *plan)
{
    return network_kinds[plan->kind].reach == NETWORK_REACH_ADDRESS &&
           plan->mode != NETWORK_MODE_AUTO;
}

void task_network_describe(const struct task_network *network, struct task_network_address *ret,
                           struct task_network_port **ret_ports, char **ret_address)
{
    const struct network_record *record = task_network_ports_record(network);

    if (record == NULL)
        return;
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES && *ret_address == NULL; i++)
        if (address_is_set(&record->addresses[i]))
            *ret_address = address_text(&record->addresses[i]);
    if (*ret_address == NULL)
        return;
    *ret_ports = alloc_zero(record->n_ports + 1, sizeof(**ret_ports));
    for (size_t i = 0; i < record->n_ports; i++)
        (*ret_ports)[i] = (struct task_network_port){ record->ports[i].label,
                                                      record->ports[i].port };
    *ret = (struct task_network_address){
        .address = *ret_address,
        .ports = *ret_ports,
        .n_ports = record->n_ports,
        .auto_advertise = is_reachable(&network->plan),
    };
}

/* --- later ----------------------------------------------------------------------------------- */

/* The rules are made again whatever there is: somebody may have flushed them. */
void task_network_follow(struct task_network *network, pid_t leader)
{
    CLEANUP_FAIL struct fail fail = {};

    if (task_network_ports_record(network) == NULL)
        return;
    network->is_addressed = network->is_proxied = network->is_told = true;
    task_network_ports_renew(network);
    if (leader > 0 && follow(network, leader, &fail) < 0)
        log_task_warn(network->args.task, "%s, ignoring", fail_text(&fail));
}

static void leave_share(struct task_network *network, const struct network_record *record,
                        const struct address *hosts)
{
    CLEANUP_FAIL struct fail fail = {};

    if (networks_share_is_used(network->args.networks, record->share, network->args.machine))
        return;
    if (!record->is_owned) {
        network_link_leave_bridge(record->share, hosts, NETWORK_RECORD_FAMILIES);
        return;
    }
    network_link_remove_empty_bridge(record->share); /* nspawn does, unless it was killed */
    if (task_network_prepare_disown(network, &fail) < 0)
        log_task_warn(network->args.task, "%s, ignoring", fail_text(&fail));
}

void task_network_end(struct task_network *network)
{
    struct networks *networks = network->args.networks;
    CLEANUP(network_record_done) struct network_record record = {};
    struct address hosts[NETWORK_RECORD_FAMILIES] = {};

    task_network_drop(network);
    if (task_network_ports_record(network) == NULL)
        return;
    network_record_copy(task_network_ports_record(network), &record);
    networks_hosts(networks, &record, hosts);
    networks_remove(networks, network->args.machine);
    if (record.share != NULL && address_is_set(&record.lease))
        leave_share(network, &record, hosts);
}

int task_network_clear(struct task_network *network, task_network_done_fn done, void *data)
{
    task_network_end(network);
    return network->networkd != NULL ? task_network_prepare_await(network, done, data) : 0;
}

/* --- life ------------------------------------------------------------------------------------ */

void task_network_drop(struct task_network *network)
{
    network->done = NULL;
    task_network_ports_drop(network);
    network->late = sd_event_source_disable_unref(network->late);
    network->addresses = address_watch_free(network->addresses);
    network->netns_fd = close_fd(network->netns_fd);
}

struct task_network *task_network_new(const struct task_network_args *args)
{
    struct task_network *network = ALLOC_NEW(struct task_network);

    network->args = *args;
    network->netns_fd = -EBADF;
    return network;
}

struct task_network *task_network_free(struct task_network *network)
{
    if (network == NULL)
        return NULL;
    task_network_drop(network);
    network->networkd = networkd_op_free(network->networkd);
    network_plan_done(&network->plan);
    free(network->veth);
    free(network);
    return NULL;
}

void task_network_plan_set(struct task_network *network, struct network_plan *plan)
{
    network_plan_done(&network->plan);
    network->plan = *plan;
    *plan = (struct network_plan){};
}

const struct network_plan *task_network_plan(const struct task_network *network)
{
    return &network->plan;
}

const char *task_network_veth(const struct task_network *network)
{
    return network->veth;
}
