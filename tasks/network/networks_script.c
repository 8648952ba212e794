#include "tasks/network/networks_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/rtnl.h"
#include "tasks/network/nft_rules.h"

struct script {
    struct nft_port *ports;
    size_t n_ports;
    struct rtnl_address *host; /* the host's addresses */
    size_t n_host;
};

/* 127.0.0.1's packets get to a container over an interface that we made, as only there the kernel
 * is told to let them pass (route_localnet). */
static bool keeps_loopback(const struct network_record *record)
{
    return record->share != NULL && !record->is_zone;
}

static void add(struct script *script, const struct network_record *record,
                const struct network_port *port, const struct address *host,
                const struct address *to)
{
    script->ports = alloc_grow(script->ports, script->n_ports + 1, sizeof(*script->ports));
    script->ports[script->n_ports++] = (struct nft_port){
        .machine = record->machine,
        .label = port->label,
        .host = host != NULL ? *host : (struct address){},
        .host_port = port->host_port,
        .to = *to,
        .to_port = port->port,
        .keeps_loopback = keeps_loopback(record),
    };
}

static unsigned interface_of(const struct script *script, const struct address *address)
{
    for (size_t i = 0; i < script->n_host; i++)
        if (address_is_same(&script->host[i].address, address))
            return script->host[i].index;
    return 0;
}

/* What Nomad gives is one address of the host. Of the other family the port is published at those
 * that the same interface has: what Nomad calls a host network is, most often, an interface. */
static void add_at_some(struct script *script, const struct network_record *record,
                        const struct network_port *port, const struct address *to)
{
    static const struct address loopback = { AF_INET, 32, { 127, 0, 0, 1 } };
    unsigned index = interface_of(script, &port->host);

    if (port->host.family == to->family)
        add(script, record, port, &port->host, to);
    else
        for (size_t i = 0; i < script->n_host; i++)
            if (script->host[i].index == index && index != 0 &&
                script->host[i].address.family == to->family)
                add(script, record, port, &script->host[i].address, to);
    if (to->family == AF_INET && !keeps_loopback(record))
        add(script, record, port, &loopback, to);
}

static void add_record(struct script *script, const struct network_record *record)
{
    for (size_t i = 0; i < record->n_ports; i++)
        for (size_t j = 0; j < NETWORK_RECORD_FAMILIES; j++) {
            const struct address *to = &record->addresses[j];
            if (!address_is_set(to))
                continue;
            if (address_is_set(&record->ports[i].host))
                add_at_some(script, record, &record->ports[i], to);
            else
                add(script, record, &record->ports[i], NULL, to);
        }
}

static bool is_at_some(const struct network_record *const *records, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < records[i]->n_ports; j++)
            if (address_is_set(&records[i]->ports[j].host))
                return true;
    return false;
}

static void read_host(struct script *script)
{
    int r = 0;
    CLEANUP(rtnl_closep) struct rtnl *rtnl = rtnl_open(-EBADF, &r);

    if (rtnl != NULL)
        r = rtnl_list_addresses(rtnl, &script->host, &script->n_host);
    if (r < 0)
        log_warn("cannot read the host's addresses: %s, ignoring", strerror(-r));
}

void networks_script_make(const struct network_record *const *records, size_t n,
                          const struct plugin_config *config, bool is_update,
                          struct networks_script *ret)
{
    struct address pools[2] = { config->pool, config->pool6 };
    struct script script = {};
    bool has_lease = false;

    *ret = (struct networks_script){ .is_at_some = is_at_some(records, n) };
    if (ret->is_at_some)
        read_host(&script);
    for (size_t i = 0; i < n; i++) {
        has_lease = has_lease || address_is_set(&records[i]->lease);
        add_record(&script, records[i]);
    }
    struct nft_rules rules = {
        .ports = script.ports,
        .n_ports = script.n_ports,
        .pools = pools,
        .n_pools = !has_lease ? 0 : address_is_set(&config->pool6) ? 2 : 1,
    };
    ret->is_empty = rules.n_ports == 0 && rules.n_pools == 0;
    ret->content = nft_rules_make(&rules);
    ret->text = is_update && !ret->is_empty ? nft_rules_update(&rules) : alloc_strdup(ret->content);
    free(script.ports);
    free(script.host);
}
