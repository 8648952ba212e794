#include "tasks/network/task_network_prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/netns.h"
#include "tasks/kernel/rtnl.h"
#include "tasks/kernel/sysctl.h"
#include "tasks/network/address_pool.h"
#include "tasks/network/network_link.h"
#include "tasks/network/task_network_ports.h"
#include "tasks/network/task_network_private.h"
#include "tasks/spec/machine_name.h"

/* Our end of a link is called so, and a part of the task's hash: no file that systemd-networkd
 * brings along matches it. */
#define VETH_PREFIX "nn-"

/* --- where addresses come from --------------------------------------------------------------- */

int task_network_prepare_await(struct task_network *network, task_network_done_fn done, void *data)
{
    network->done = done;
    network->done_data = data;
    return 1;
}

static void end_networkd_wait(struct task_network *network)
{
    task_network_done_fn done = TAKE_PTR(network->done);

    network->networkd = NULL;
    if (done != NULL)
        done(network->done_data);
}

/* Where it runs, it serves DHCP on the links of containers, and a job that runs a DHCP client gets
 * what it waits for. Elsewhere nobody would. */
static void on_networkd_asked(bool runs, void *data)
{
    struct task_network *network = data;

    network->plan.mode = runs ? NETWORK_MODE_DHCP : NETWORK_MODE_AUTO;
    end_networkd_wait(network);
}

int task_network_prepare_mode(struct task_network *network, task_network_done_fn done, void *data)
{
    if (network->plan.mode != NETWORK_MODE_UNSET)
        return 0;
    network->networkd = networkd_ask(network->args.bus, on_networkd_asked, network);
    return task_network_prepare_await(network, done, data);
}

/* --- preparing ------------------------------------------------------------------------------- */

static bool has_ipv6(void)
{
    char text[8];

    return sysctl_read("net/ipv6/conf/all/disable_ipv6", text, sizeof(text)) >= 0 &&
           strcmp(text, "0") == 0;
}

static int take_address(const struct task_network *network, struct network_record *record,
                        struct fail *fail)
{
    const struct plugin_config *config = network->args.config;
    const struct address *fixed = &network->plan.address;

    if (network->plan.mode == NETWORK_MODE_FIXED)
        record->addresses[fixed->family == AF_INET ? NETWORK_RECORD_IPV4 : NETWORK_RECORD_IPV6] =
            *fixed;
    if (network->plan.mode != NETWORK_MODE_AUTO)
        return 0;
    int r = networks_lease(network->args.networks, record->share, &record->lease, fail);
    if (r < 0)
        return r;
    record->addresses[NETWORK_RECORD_IPV4] = record->lease;
    if (address_is_set(&config->pool6) && has_ipv6())
        record->addresses[NETWORK_RECORD_IPV6] = address_pool_address6(&config->pool6,
                                                                       &record->lease);
    /* A zone that is there already may be somebody else's, who gives it addresses. */
    record->is_owned = record->is_zone &&
                       (networks_owns_zone(network->args.networks, record->share) ||
                        !network_link_exists(record->share));
    return 0;
}

static void on_networkd_told(bool runs, void *data)
{
    (void)runs;
    end_networkd_wait(data);
}

/* Keeps systemd-networkd off what is ours, be it that it runs now or later. */
int task_network_prepare_disown(struct task_network *network, struct fail *fail)
{
    CLEANUP(strv_done) struct strv names = {};

    strv_push(&names, VETH_PREFIX "*");
    networks_list_zones(network->args.networks, &names);
    int r = networkd_disown(&names);
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot write '" NETWORKD_FILE "': %s", strerror(-r));
    if (r > 0) {
        network->networkd = networkd_op_free(network->networkd);
        network->networkd = networkd_reload(network->args.bus, on_networkd_told, network);
    }
    return r;
}

static int make_link(struct task_network *network, const struct task_options *options, char *link,
                     struct fail *fail)
{
    struct networks *networks = network->args.networks;
    CLEANUP(network_record_done)
    struct network_record record = {
        .machine = alloc_strdup(network->args.machine),
        .link = link,
        .share = network_kind_bridge(network->plan.kind, options),
        .is_zone = network_kinds[network->plan.kind].makes_bridge,
    };

    network_ports_copy(network->plan.ports, network->plan.n_ports, &record.ports, &record.n_ports);
    int r = networks_check_ports(networks, &record, fail);
    if (r >= 0)
        r = take_address(network, &record, fail);
    if (r >= 0)
        r = networks_set(networks, &record, fail);
    if (r < 0)
        return r;
    if (network->plan.mode == NETWORK_MODE_DHCP)
        return 0;
    if (network_kinds[network->plan.kind].is_pair) {
        CLEANUP_FREE char *id = machine_name_slice_id(network->args.machine);
        network->veth = alloc_printf(VETH_PREFIX "%.10s", id);
    }
    r = task_network_ports_publish(network, false, fail);
    return r < 0 ? r : task_network_prepare_disown(network, fail);
}

/* --- the group's namespace ------------------------------------------------------------------- */

/* Nomad brings a loopback up only where its CNI plugins do. It is of the host's user namespace: so
 * nobody in ours could bind a low port otherwise. */
static int prepare_group(const char *path, struct fail *fail)
{
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

int task_network_prepare_link(struct task_network *network, const struct task_options *options,
                              const char *group_path, task_network_done_fn done, void *data,
                              struct fail *fail)
{
    char *link = network_kind_link(network->plan.kind, options);

    if (link != NULL) {
        int r = make_link(network, options, link, fail);
        return r <= 0 ? r : task_network_prepare_await(network, done, data);
    }
    network->is_addressed = network->is_published = network->is_proxied = true;
    return network->plan.kind == NETWORK_GROUP ? prepare_group(group_path, fail) : 0;
}
