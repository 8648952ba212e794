#include "tasks/network/task_network.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/netns.h"
#include "tasks/kernel/rtnl.h"
#include "tasks/kernel/sysctl.h"
#include "tasks/network/address_pool.h"
#include "tasks/network/booted_network.h"
#include "tasks/network/network_link.h"
#include "tasks/network/task_network_ports.h"
#include "tasks/spec/machine_name.h"

/* Our end of a link is called so, and a part of the task's hash: no file that systemd-networkd
 * brings along matches it. */
#define VETH_PREFIX "nn-"

/* --- where addresses come from --------------------------------------------------------------- */

/* The flow that goes on may be another one by now: the start was given up. */
static void end_networkd_wait(struct task *task)
{
    task->networkd = NULL;
    if (!task->is_networkd_awaited)
        return;
    task->is_networkd_awaited = false;
    flow_continue(task->flow);
}

/* Where it runs, it serves DHCP on the links of containers, and a job that runs a DHCP client gets
 * what it waits for. Elsewhere nobody would. */
static void on_networkd_asked(bool runs, void *data)
{
    struct task *task = data;

    task->plan.mode = runs ? NETWORK_MODE_DHCP : NETWORK_MODE_AUTO;
    end_networkd_wait(task);
}

int task_network_decide(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    if (task->plan.mode != NETWORK_MODE_UNSET)
        return 0;
    task->networkd = networkd_ask(task->host->bus, on_networkd_asked, task);
    task->is_networkd_awaited = true;
    return FLOW_WAIT;
}

/* --- preparing ------------------------------------------------------------------------------- */

static char *share_of(const struct task *task)
{
    if (task->plan.kind == NETWORK_ZONE)
        return alloc_printf("vz-%s", task->config.network_zone);
    return task->plan.kind == NETWORK_BRIDGE ? alloc_strdup(task->config.network_bridge) : NULL;
}

static bool has_ipv6(void)
{
    char text[8];

    return sysctl_read("net/ipv6/conf/all/disable_ipv6", text, sizeof(text)) >= 0 &&
           strcmp(text, "0") == 0;
}

static int take_address(const struct task *task, struct network_record *record, struct fail *fail)
{
    const struct plugin_config *config = task->host->config;
    const struct address *fixed = &task->plan.address;

    if (task->plan.mode == NETWORK_MODE_FIXED)
        record->addresses[fixed->family == AF_INET ? NETWORK_RECORD_IPV4 : NETWORK_RECORD_IPV6] =
                *fixed;
    if (task->plan.mode != NETWORK_MODE_AUTO)
        return 0;
    int r = networks_lease(task->host->networks, record->share, &record->lease, fail);
    if (r < 0)
        return r;
    record->addresses[NETWORK_RECORD_IPV4] = record->lease;
    if (address_is_set(&config->pool6) && has_ipv6())
        record->addresses[NETWORK_RECORD_IPV6] =
                address_pool_address6(&config->pool6, &record->lease);
    /* A zone that is there already may be somebody else's, who gives it addresses. */
    record->is_owned = record->is_zone &&
                       (networks_owns_zone(task->host->networks, record->share) ||
                        !network_link_exists(record->share));
    return 0;
}

static void on_networkd_told(bool runs, void *data)
{
    (void)runs;
    end_networkd_wait(data);
}

/* Keeps systemd-networkd off what is ours, be it that it runs now or later. */
static int disown(struct task *task, struct fail *fail)
{
    CLEANUP(strv_done) struct strv names = {};

    strv_push(&names, VETH_PREFIX "*");
    networks_list_zones(task->host->networks, &names);
    int r = networkd_disown(&names);
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot write '" NETWORKD_FILE "': %s", strerror(-r));
    if (r > 0) {
        task->networkd = networkd_op_free(task->networkd);
        task->networkd = networkd_reload(task->host->bus, on_networkd_told, task);
    }
    return r;
}

static int prepare_link(struct task *task, char *link, struct fail *fail)
{
    struct networks *networks = task->host->networks;
    CLEANUP(network_record_done) struct network_record record = {
        .machine = alloc_strdup(task->machine),
        .link = link,
        .share = share_of(task),
        .is_zone = task->plan.kind == NETWORK_ZONE,
    };

    network_ports_copy(task->plan.ports, task->plan.n_ports, &record.ports, &record.n_ports);
    int r = networks_check_ports(networks, &record, fail);
    if (r >= 0)
        r = take_address(task, &record, fail);
    if (r >= 0)
        r = networks_set(networks, &record, fail);
    if (r < 0)
        return r;
    if (task->plan.mode == NETWORK_MODE_DHCP)
        return 0;
    if (task->plan.kind == NETWORK_VETH) {
        CLEANUP_FREE char *id = machine_name_slice_id(task->machine);
        task->veth = alloc_printf(VETH_PREFIX "%.10s", id);
    }
    r = task_network_ports_publish(task, false, fail);
    if (r >= 0)
        r = disown(task, fail);
    task->is_networkd_awaited = r > 0;
    return r <= 0 ? r : FLOW_WAIT;
}

/* --- the group's namespace ------------------------------------------------------------------- */

/* Nomad brings a loopback up only where its CNI plugins do. It is of the host's user namespace: so
 * nobody in ours could bind a low port otherwise. */
static int prepare_group(const struct task *task, struct fail *fail)
{
    const char *path = task->spec.network_path;
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct rtnl_link loopback = {};

    if (fd < 0)
        return fail_set_recoverable(fail, -errno, "the group's network namespace '%s': %s", path,
                                    strerror(errno));
    int r = netns_write_sysctl(fd, "net/ipv4/ip_unprivileged_port_start", "0");
    CLEANUP(rtnl_closep) struct rtnl *rtnl = r >= 0 ? rtnl_open(fd, &r) : NULL;
    if (rtnl != NULL)
        r = rtnl_find_link(rtnl, "lo", &loopback);
    if (r >= 0 && !loopback.is_up)
        r = rtnl_set_up(rtnl, loopback.index);
    return r < 0 ? fail_set(fail, r, "cannot prepare the group's network namespace '%s': %s", path,
                            strerror(-r))
                 : 0;
}

int task_network_prepare(void *data, struct fail *fail)
{
    struct task *task = data;
    char *link = network_plan_link(&task->plan, &task->config);

    if (link != NULL)
        return prepare_link(task, link, fail);
    task->is_addressed = task->is_published = task->is_proxied = true;
    return task->plan.kind == NETWORK_GROUP ? prepare_group(task, fail) : 0;
}

/* --- the container's end --------------------------------------------------------------------- */

static bool is_same(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->prefix == b->prefix &&
           (!address_is_set(a) || address_is_same(a, b));
}

void task_network_tell(const struct task *task)
{
    const struct network_record *record = task_network_ports_record(task);
    CLEANUP(strv_done) struct strv texts = {};
    struct pairs annotations = {};

    for (size_t i = 0; record != NULL && i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&record->addresses[i]))
            strv_push_owned(&texts, address_text(&record->addresses[i]));
    if (texts.n_items == 0) {
        if (task->plan.needs_address && !task->is_addressed)
            task_tell(task, NULL, "The container ended before it had an address");
        return;
    }
    CLEANUP_FREE char *text = strv_join(&texts, ", ");
    pairs_set(&annotations, "address", text);
    task_tell(task, &annotations, "Address: %s", text);
    pairs_done(&annotations);
}

static int note_addresses(struct task *task, const struct network_record *record,
                          const struct address *addresses, struct fail *fail)
{
    CLEANUP(network_record_done) struct network_record changed = {};
    bool again = task->is_addressed;

    network_record_copy(record, &changed);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        changed.addresses[i] = addresses[i];
    int r = networks_set(task->host->networks, &changed, fail);
    bool has_any = address_is_set(&addresses[NETWORK_RECORD_IPV4]) ||
                   address_is_set(&addresses[NETWORK_RECORD_IPV6]);
    if (r >= 0 && has_any)
        r = task_network_ports_publish(task, again, fail);
    return r;
}

static void on_addresses(void *data)
{
    struct task *task = data;
    const struct network_record *record = task_network_ports_record(task);
    struct address addresses[NETWORK_RECORD_FAMILIES];
    CLEANUP_FAIL struct fail fail = {};

    if (record == NULL || network_link_read(task->netns_fd, record->link, addresses) < 0)
        return; /* the link is not there yet, or not any more */
    if (is_same(&addresses[0], &record->addresses[0]) &&
        is_same(&addresses[1], &record->addresses[1]))
        return;
    if (note_addresses(task, record, addresses, &fail) < 0) {
        task_network_ports_fail(task, &fail);
        return;
    }
    if (task->state >= TASK_RUNNING)
        task_network_tell(task);
    task_start_progress(task);
}

static int follow(struct task *task, pid_t pid, struct fail *fail)
{
    const struct network_record *record = task_network_ports_record(task);
    int r = 0;

    task->netns_fd = netns_open(pid);
    if (task->netns_fd < 0)
        return fail_set_recoverable(fail, task->netns_fd,
                                    "cannot reach the container's network: %s",
                                    strerror(-task->netns_fd));
    if (network_link_find_host(task->netns_fd, record->link, task->host_link) < 0)
        task->host_link[0] = '\0';
    task->addresses = address_watch_new(bus_event(task->host->bus), task->netns_fd, on_addresses,
                                        task, &r);
    return r < 0 ? fail_set_recoverable(fail, r, "cannot follow the container's addresses: %s",
                                        strerror(-r))
                 : 0;
}

static void set_ends(const struct task *task, struct network_link *link)
{
    const struct network_record *record = task_network_ports_record(task);
    const struct network_plan *plan = &task->plan;
    size_t family = plan->gateway.family == AF_INET6 ? NETWORK_RECORD_IPV6 : NETWORK_RECORD_IPV4;

    *link = (struct network_link){
        .name = record->link,
        .is_routed = plan->kind == NETWORK_VETH,
    };
    memcpy(link->addresses, record->addresses, sizeof(link->addresses));
    if (plan->mode == NETWORK_MODE_AUTO) {
        networks_hosts(task->host->networks, record, link->hosts);
        memcpy(link->gateways, link->hosts, sizeof(link->gateways));
    } else if (address_is_set(&plan->gateway)) {
        link->gateways[family] = plan->gateway;
        if (plan->kind == NETWORK_VETH) {
            link->hosts[family] = plan->gateway;
            link->hosts[family].prefix = plan->address.prefix;
        }
    }
}

static int attach(struct task *task, pid_t pid, struct fail *fail)
{
    int r = follow(task, pid, fail);

    if (r < 0 || task->plan.mode == NETWORK_MODE_DHCP)
        return r;
    struct network_link link;
    set_ends(task, &link);
    r = network_link_set_up(task->netns_fd, &link, fail);
    int told = r >= 0 && task->is_booted ? booted_network_keep(pid, link.name) : 0;
    if (told < 0)
        log_task_info(task->spec.id, "a systemd-networkd in the container is not told to keep its "
                                     "addresses: %s",
                      strerror(-told));
    return r;
}

static bool has_ended(pid_t pid)
{
    CLEANUP_CLOSE int fd = netns_open(pid);

    return fd == -ENOENT || fd == -ESRCH;
}

bool task_network_attach(struct task *task, pid_t pid)
{
    const struct network_record *record = task_network_ports_record(task);
    CLEANUP_FAIL struct fail fail = {};

    if (record == NULL || task->netns_fd >= 0)
        return true;
    if (attach(task, pid, &fail) >= 0) {
        task_network_ports_open_ways(task);
        return true;
    }
    if (has_ended(pid))
        return true; /* which its end will tell */
    task_network_ports_fail(task, &fail);
    return false;
}

static int on_late(sd_event_source *source, uint64_t usec, void *data)
{
    struct task *task = data;
    const struct network_record *record = task_network_ports_record(task);
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    task->address_timer = sd_event_source_disable_unref(task->address_timer);
    (void)fail_set_recoverable(
            &fail, -ETIMEDOUT,
            "the container has no address on '%s' after %.3g s (network_timeout), and its ports "
            "need one: run a DHCP client in it and serve DHCP, or set network_address = \"auto\"",
            record != NULL ? record->link : "host0", (double)task->plan.timeout_usec / 1e6);
    task_network_ports_fail(task, &fail);
    return 0;
}

bool task_network_is_up(struct task *task)
{
    if (task->is_addressed) {
        task->address_timer = sd_event_source_disable_unref(task->address_timer);
        return task->is_published && task->is_proxied;
    }
    if (!task->plan.needs_address)
        return true;
    if (task->address_timer == NULL) {
        int r = sd_event_add_time_relative(bus_event(task->host->bus), &task->address_timer,
                                           CLOCK_MONOTONIC, task->plan.timeout_usec, 0, on_late,
                                           task);
        assert(r >= 0);
        (void)sd_event_source_set_description(task->address_timer, "task-address-late");
    }
    return false;
}

/* --- for Nomad ------------------------------------------------------------------------------- */

/* Others can reach the container by its address only where that is not of this host's making. */
static bool is_reachable(const struct network_plan *plan)
{
    return plan->kind == NETWORK_MACVLAN || plan->kind == NETWORK_IPVLAN ||
           plan->kind == NETWORK_INTERFACE ||
           (plan->kind == NETWORK_BRIDGE && plan->mode != NETWORK_MODE_AUTO);
}

void task_network_describe(const struct task *task, struct driver_network *ret,
                           struct driver_network_port **ret_ports, char **ret_address)
{
    const struct network_record *record = task_network_ports_record(task);

    if (record == NULL)
        return;
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES && *ret_address == NULL; i++)
        if (address_is_set(&record->addresses[i]))
            *ret_address = address_text(&record->addresses[i]);
    if (*ret_address == NULL)
        return;
    *ret_ports = alloc_zero(record->n_ports + 1, sizeof(**ret_ports));
    for (size_t i = 0; i < record->n_ports; i++)
        (*ret_ports)[i] = (struct driver_network_port){ record->ports[i].label,
                                                        record->ports[i].port };
    *ret = (struct driver_network){
        .address = *ret_address,
        .ports = *ret_ports,
        .n_ports = record->n_ports,
        .auto_advertise = is_reachable(&task->plan),
    };
}

/* --- later ----------------------------------------------------------------------------------- */

/* The rules are made again whatever there is: somebody may have flushed them. */
int task_network_follow(void *data, struct fail *fail)
{
    struct task *task = data;
    const struct network_record *record = task_network_ports_record(task);
    CLEANUP_FAIL struct fail own = {};

    (void)fail;
    if (record == NULL || unit_state_has_ended(&task->unit))
        return 0;
    task->is_addressed = true;
    task->is_proxied = true;
    task_network_ports_renew(task);
    if (task->leader > 0 && follow(task, task->leader, &own) < 0)
        log_task_warn(task->spec.id, "%s, ignoring", fail_text(&own));
    return 0;
}

static void leave_share(struct task *task, const struct network_record *record,
                        const struct address *hosts)
{
    CLEANUP_FAIL struct fail fail = {};

    if (networks_share_is_used(task->host->networks, record->share, task->machine))
        return;
    if (!record->is_owned) {
        network_link_leave_bridge(record->share, hosts, NETWORK_RECORD_FAMILIES);
        return;
    }
    network_link_remove_empty_bridge(record->share); /* nspawn does, unless it was killed */
    if (disown(task, &fail) < 0)
        log_task_warn(task->spec.id, "%s, ignoring", fail_text(&fail));
}

void task_network_end(struct task *task)
{
    struct networks *networks = task->host->networks;
    CLEANUP(network_record_done) struct network_record record = {};
    struct address hosts[NETWORK_RECORD_FAMILIES] = {};

    task_network_drop(task);
    if (task_network_ports_record(task) == NULL)
        return;
    network_record_copy(task_network_ports_record(task), &record);
    networks_hosts(networks, &record, hosts);
    networks_remove(networks, task->machine);
    if (record.share != NULL && address_is_set(&record.lease))
        leave_share(task, &record, hosts);
}

int task_network_clear(void *data, struct fail *fail)
{
    struct task *task = data;

    (void)fail;
    task_network_end(task);
    task->is_networkd_awaited = task->networkd != NULL;
    return task->is_networkd_awaited ? FLOW_WAIT : 0;
}

void task_network_drop(struct task *task)
{
    task_network_ports_drop(task);
    task->address_timer = sd_event_source_disable_unref(task->address_timer);
    task->addresses = address_watch_free(task->addresses);
    task->netns_fd = close_fd(task->netns_fd);
}
