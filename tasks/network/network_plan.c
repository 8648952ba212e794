#include "tasks/network/network_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/duration.h"

#define TIMEOUT_USEC_DEFAULT UINT64_C(10000000)
#define TIMEOUT_USEC_MAX     UINT64_C(3600000000)

/* --- time ------------------------------------------------------------------------------------ */

static int plan_timeout(const struct task_options *config, struct network_plan *plan,
                        struct fail *reterr)
{
    plan->timeout_usec = TIMEOUT_USEC_DEFAULT;
    if (config->network_timeout != NULL &&
        duration_parse(config->network_timeout, TIMEOUT_USEC_MAX, &plan->timeout_usec) < 0)
        return fail_set(reterr, -EINVAL,
                        "option 'network_timeout': '%s': expected a time like \"10s\" or "
                        "\"1m30s\", at most an hour",
                        config->network_timeout);
    return 0;
}

/* --- kind ------------------------------------------------------------------------------------ */

/* `network_veth` is true unless written otherwise, and means nothing here. */
static int plan_group(const struct task_options *config, const struct task_spec *spec,
                      struct network_plan *plan, struct fail *reterr)
{
    const char *option = plan->kind != NETWORK_VETH ? network_kinds[plan->kind].option : NULL;

    if (spec->network == TASK_NETWORK_TASK)
        return fail_set(reterr, -EOPNOTSUPP,
                        "the group's network mode \"driver\" is not offered by this driver; leave "
                        "the group's `network { mode }` out, and use the network options of the "
                        "task's config");
    if (option == NULL && config->network_address != NULL)
        option = "network_address";
    if (option != NULL)
        return fail_set(reterr, -EINVAL,
                        "option '%s': the task is in the network of its group; remove the option, "
                        "or the group's `network { mode }`",
                        option);
    plan->kind = spec->network_path != NULL ? NETWORK_GROUP : NETWORK_PRIVATE;
    if (spec->network == TASK_NETWORK_GROUP && spec->network_path == NULL)
        return fail_set(reterr, -EINVAL, "the path of the group's network namespace is missing");
    return 0;
}

/* --- address --------------------------------------------------------------------------------- */

static bool has_link_of_ours(enum network_kind kind)
{
    return network_kinds[kind].owner == NETWORK_OWNER_DRIVER;
}

static bool has_link(enum network_kind kind)
{
    return network_kinds[kind].link != NULL;
}

static bool is_station(const struct address *address)
{
    bool is_multicast = address->family == AF_INET ? address->bytes[0] >= 224
                                                   : address->bytes[0] == 0xff;

    return !address_is_unspecified(address) && !address_is_loopback(address) && !is_multicast;
}

static int plan_fixed(const struct task_options *config, struct network_plan *plan,
                      struct fail *reterr)
{
    const char *address = config->network_address, *gateway = config->network_gateway;

    plan->mode = NETWORK_MODE_FIXED;
    if (address_parse(address, &plan->address) < 0 || strchr(address, '/') == NULL ||
        plan->address.prefix == 0 || !is_station(&plan->address))
        return fail_set(reterr, -EINVAL,
                        "option 'network_address': '%s': expected \"dhcp\", \"auto\", or an "
                        "address with the length of its network's prefix, like "
                        "\"192.0.2.7/24\"",
                        address);
    if (gateway == NULL)
        return 0;
    if (address_parse(gateway, &plan->gateway) < 0 || strchr(gateway, '/') != NULL ||
        plan->gateway.family != plan->address.family || !is_station(&plan->gateway))
        return fail_set(reterr, -EINVAL,
                        "option 'network_gateway': '%s': expected an %s address without a length",
                        gateway, plan->address.family == AF_INET ? "IPv4" : "IPv6");
    if (address_is_same(&plan->address, &plan->gateway))
        return fail_set(reterr, -EINVAL,
                        "option 'network_gateway': '%s' is the container's own address", gateway);
    return 0;
}

static int plan_address(const struct task_options *config, struct network_plan *plan,
                        struct fail *reterr)
{
    const char *address = config->network_address;
    bool is_fixed = address != NULL && strcmp(address, "dhcp") != 0 && strcmp(address, "auto") != 0;

    if (config->network_gateway != NULL && !is_fixed)
        return fail_set(reterr, -EINVAL,
                        "option 'network_gateway' needs an address in 'network_address'; remove "
                        "it, or write both");
    if (address != NULL && !has_link(plan->kind))
        return fail_set(reterr, -EINVAL,
                        "option 'network_address': the container has no link of its own %s; remove "
                        "the option",
                        plan->kind == NETWORK_HOST ? "(network_veth = false)"
                                                   : "(private_network = true)");
    if (is_fixed)
        return plan_fixed(config, plan, reterr);
    if (address != NULL && strcmp(address, "auto") == 0) {
        if (!has_link_of_ours(plan->kind))
            return fail_set(reterr, -EINVAL,
                            "option 'network_address': \"auto\" needs a network that this host "
                            "makes (network_veth, network_zone or network_bridge); with '%s' use "
                            "\"dhcp\", or write the address",
                            network_kinds[plan->kind].option);
        plan->mode = NETWORK_MODE_AUTO;
    } else if (address != NULL || network_kinds[plan->kind].reach != NETWORK_REACH_PORTS) {
        plan->mode = NETWORK_MODE_DHCP;
    }
    return 0;
}

/* --- ports ----------------------------------------------------------------------------------- */

static const struct task_port *find_port(const struct task_spec *spec, const char *label)
{
    for (size_t i = 0; i < spec->n_ports; i++)
        if (strcmp(spec->ports[i].label, label) == 0)
            return &spec->ports[i];
    return NULL;
}

static int fail_label(const char *option, const char *label, const struct task_spec *spec,
                      struct fail *reterr)
{
    CLEANUP(strv_done) struct strv labels = {};

    for (size_t i = 0; i < spec->n_ports && i < 10; i++)
        strv_push(&labels, spec->ports[i].label);
    CLEANUP_FREE char *list = strv_join(&labels, ", ");
    return fail_set(reterr, -EINVAL,
                    "option '%s': the group's `network` block has no port \"%s\"; %s%s", option,
                    label, spec->n_ports > 0 ? "it has " : "it has none", list);
}

/* An agent whose network is the loopback, as in development, means no restriction by it. */
static bool is_everywhere(const struct address *host)
{
    return !address_is_set(host) || address_is_unspecified(host) || address_is_loopback(host);
}

static void add_port(struct network_plan *plan, const struct task_port *port, uint16_t to)
{
    const struct address everywhere = {};

    plan->ports = alloc_grow(plan->ports, plan->n_ports + 1, sizeof(*plan->ports));
    plan->ports[plan->n_ports++] = (struct network_port){
        .label = alloc_strdup(port->label),
        .host = is_everywhere(&port->host) ? everywhere : port->host,
        .host_port = port->host_port,
        .port = to,
    };
}

static int plan_labels(const struct task_options *config, const struct task_spec *spec,
                       struct network_plan *plan, struct fail *reterr)
{
    for (size_t i = 0; i < config->ports.n_items; i++) {
        const char *label = config->ports.items[i];
        const struct task_port *port = find_port(spec, label);
        if (port == NULL)
            return fail_label("ports", label, spec, reterr);
        for (size_t j = 0; j < i; j++)
            if (strcmp(config->ports.items[j], label) == 0)
                return fail_set(reterr, -EINVAL, "option 'ports': \"%s\" is there twice", label);
        add_port(plan, port, port->to);
    }
    return 0;
}

static int plan_port_map(const struct task_options *config, const struct task_spec *spec,
                         struct network_plan *plan, struct fail *reterr)
{
    const struct pairs *map = &config->port_map;

    for (size_t i = 0; i < map->n_items; i++) {
        long to = strtol(map->items[i].value, NULL, 10);
        if (find_port(spec, map->items[i].key) == NULL)
            return fail_label("port_map", map->items[i].key, spec, reterr);
        if (to < 1 || to > UINT16_MAX)
            return fail_set(reterr, -EINVAL,
                            "option 'port_map': port %s of \"%s\": expected 1 to 65535",
                            map->items[i].value, map->items[i].key);
    }
    for (size_t i = 0; i < spec->n_ports; i++) {
        const char *to = pairs_get(map, spec->ports[i].label);
        add_port(plan, &spec->ports[i],
                 to != NULL ? (uint16_t)strtoul(to, NULL, 10) : spec->ports[i].to);
    }
    return 0;
}

static int check_publishing(const char *option, enum network_kind kind, struct fail *reterr)
{
    if (has_link_of_ours(kind))
        return 0;
    if (kind == NETWORK_HOST)
        return fail_set(reterr, -EINVAL,
                        "option '%s': the container uses the host's network (network_veth = "
                        "false), where its ports are the host's own; remove the option",
                        option);
    if (kind == NETWORK_PRIVATE)
        return fail_set(reterr, -EINVAL,
                        "option '%s': the container has only a loopback; remove the option, or "
                        "private_network",
                        option);
    return fail_set(reterr, -EINVAL,
                    "option '%s': with '%s' the container is reached by its own address; remove "
                    "the option",
                    option, network_kinds[kind].option);
}

static int plan_ports(const struct task_options *config, const struct task_spec *spec,
                      struct network_plan *plan, struct fail *reterr)
{
    bool has_labels = config->ports.n_items > 0, has_map = config->port_map.n_items > 0;

    if (!has_labels && !has_map)
        return 0;
    if (has_labels && has_map)
        return fail_set(reterr, -EINVAL,
                        "options 'ports' and 'port_map' say the same in two ways; remove port_map");
    int r = has_labels ? plan_labels(config, spec, plan, reterr)
                       : plan_port_map(config, spec, plan, reterr);
    if (r < 0)
        return r;
    if (plan->kind != NETWORK_GROUP)
        return check_publishing(has_labels ? "ports" : "port_map", plan->kind, reterr);
    network_ports_done(plan->ports, plan->n_ports); /* Nomad has published them */
    plan->ports = NULL;
    plan->n_ports = 0;
    return 0;
}

/* --- all ------------------------------------------------------------------------------------- */

static int make(const struct task_options *config, const struct task_spec *spec,
                struct network_plan *plan, struct fail *reterr)
{
    plan->kind = network_kind_of(config);
    int r = spec->network == TASK_NETWORK_HOST ? 0 : plan_group(config, spec, plan, reterr);
    if (r >= 0)
        r = plan_address(config, plan, reterr);
    if (r >= 0)
        r = plan_ports(config, spec, plan, reterr);
    if (r >= 0)
        r = plan_timeout(config, plan, reterr);
    if (r >= 0 && spec->has_dns && config->resolv_conf != NULL)
        r = fail_set(reterr, -EINVAL,
                     "option 'resolv_conf' and the group's `network { dns }` both say what "
                     "/etc/resolv.conf is; remove one of them");
    plan->needs_address = plan->n_ports > 0 ||
                          (config->network_timeout != NULL && has_link(plan->kind));
    return r;
}

int network_plan_make(const struct task_options *config, const struct task_spec *spec,
                      struct network_plan *ret, struct fail *reterr)
{
    struct network_plan plan = {};

    int r = make(config, spec, &plan, reterr);
    if (r < 0)
        network_plan_done(&plan);
    else
        *ret = plan;
    return r;
}

void network_ports_copy(const struct network_port *ports, size_t n, struct network_port **ret,
                        size_t *ret_n)
{
    struct network_port *copy = alloc_zero(n + 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++) {
        copy[i] = ports[i];
        copy[i].label = alloc_strdup(ports[i].label);
    }
    *ret = copy;
    *ret_n = n;
}

void network_ports_done(struct network_port *ports, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(ports[i].label);
    free(ports);
}

void network_plan_done(struct network_plan *plan)
{
    network_ports_done(plan->ports, plan->n_ports);
    *plan = (struct network_plan){};
}
