#include "rpc/nomad/convert_network.h"

#include <errno.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/nomad/convert.h"

static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

/* --- namespace ------------------------------------------------------------------------------- */

static int take_mode(const Nomad__NetworkIsolationSpec *isolation, enum task_isolation *ret,
                     struct fail *reterr)
{
    switch (isolation->mode) {
    case NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__HOST:
        *ret = TASK_NETWORK_HOST;
        return 0;
    case NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP:
        *ret = TASK_NETWORK_GROUP;
        return 0;
    case NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__TASK:
        *ret = TASK_NETWORK_TASK;
        return 0;
    case NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__NONE:
        *ret = TASK_NETWORK_NONE;
        return 0;
    default:
        return fail_set(reterr, -EINVAL, "network isolation mode %d of the task is not known",
                        (int)isolation->mode);
    }
}

static int take_isolation(const Nomad__NetworkIsolationSpec *isolation, struct task_spec *spec,
                          struct fail *reterr)
{
    if (isolation == NULL)
        return 0;
    int r = take_mode(isolation, &spec->network, reterr);
    if (r < 0)
        return r;
    return convert_path("path of the task's network namespace", isolation->path,
                        &spec->network_path, reterr);
}

/* --- ports ----------------------------------------------------------------------------------- */

static int check_port(const char *label, const char *what, int32_t port, struct fail *reterr)
{
    if (port < 1 || port > UINT16_MAX)
        return fail_set(reterr, -EINVAL, "port '%s': its %s is %d: expected 1 to 65535", label,
                        what, (int)port);
    return 0;
}

/* `to` as Nomad has it: 0 and negative for "the same". */
static int take_port(const char *label, int32_t value, int32_t to, const char *host_ip,
                     struct task_spec *spec, struct fail *reterr)
{
    struct address host = {};

    if (is_empty(label))
        return fail_set(reterr, -EINVAL, "a port of the task has no label; its number is %d",
                        (int)value);
    for (const char *c = label; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return fail_set(reterr, -EINVAL, "a port's label holds a control character");
    if (strlen(label) > CONVERT_NETWORK_LABEL_BYTES_MAX)
        return fail_set(reterr, -E2BIG, "a port's label has %zu bytes, at most %d are taken",
                        strlen(label), CONVERT_NETWORK_LABEL_BYTES_MAX);
    int r = check_port(label, "number on the host", value, reterr);
    if (r >= 0 && to > 0)
        r = check_port(label, "number inside", to, reterr);
    if (r < 0)
        return r;
    if (!is_empty(host_ip) && (address_parse(host_ip, &host) < 0 || strchr(host_ip, '/') != NULL))
        return fail_set(reterr, -EINVAL, "port '%s': '%s' is no address of the host", label,
                        host_ip);
    if (spec->n_ports == CONVERT_NETWORK_PORTS_MAX)
        return fail_set(reterr, -E2BIG, "the task has more than %d ports",
                        CONVERT_NETWORK_PORTS_MAX);
    spec->ports = alloc_grow(spec->ports, spec->n_ports + 1, sizeof(*spec->ports));
    spec->ports[spec->n_ports++] = (struct task_port){
        .label = alloc_strdup(label),
        .host_port = (uint16_t)value,
        .to = (uint16_t)(to > 0 ? to : value),
        .host = host,
    };
    return 0;
}

static int take_older_ports(Nomad__NetworkPort *const *ports, size_t n, const char *ip,
                            struct task_spec *spec, struct fail *reterr)
{
    for (size_t i = 0; i < n; i++) {
        int r = take_port(ports[i]->label, ports[i]->value, 0, ip, spec, reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The network block of a task, which jobs of before Nomad 0.12 have; port_map was of its first. */
static int take_older_network(const Nomad__AllocatedTaskResources *allocated,
                              struct task_spec *spec, struct fail *reterr)
{
    if (allocated == NULL || allocated->n_networks == 0)
        return 0;
    const Nomad__NetworkResource *network = allocated->networks[0];

    int r = take_older_ports(network->reserved_ports, network->n_reserved_ports, network->ip, spec,
                             reterr);
    return r < 0 ? r
                 : take_older_ports(network->dynamic_ports, network->n_dynamic_ports, network->ip,
                                    spec, reterr);
}

static int take_ports(const Nomad__Resources *resources, struct task_spec *spec,
                      struct fail *reterr)
{
    if (resources == NULL)
        return 0;
    for (size_t i = 0; i < resources->n_ports; i++) {
        const Nomad__PortMapping *port = resources->ports[i];
        int r = take_port(port->label, port->value, port->to, port->host_ip, spec, reterr);
        if (r < 0)
            return r;
    }
    return resources->n_ports > 0
                   ? 0
                   : take_older_network(resources->allocated_resources, spec, reterr);
}

/* --- resolver -------------------------------------------------------------------------------- */

/* Words of a line of resolv.conf(5): what would begin another is no word. */
static int take_words(const char *what, const char **words, size_t n, struct strv *ret,
                      struct fail *reterr)
{
    if (n > CONVERT_NETWORK_DNS_MAX)
        return fail_set(reterr, -E2BIG, "dns: %zu %s, at most %d are taken", n, what,
                        CONVERT_NETWORK_DNS_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes = strlen(words[i]);
        for (const char *c = words[i]; *c != '\0'; c++)
            if ((unsigned char)*c <= ' ' || *c == 0x7f)
                n_bytes = 0;
        if (n_bytes == 0 || n_bytes > CONVERT_NETWORK_DNS_BYTES_MAX)
            return fail_set(reterr, -EINVAL,
                            "dns: item %zu of the %s: expected a word of 1 to %d characters "
                            "without blanks",
                            i + 1, what, CONVERT_NETWORK_DNS_BYTES_MAX);
        strv_push(ret, words[i]);
    }
    return 0;
}

static int take_dns(const Nomad__DNSConfig *dns, struct task_spec *spec, struct fail *reterr)
{
    if (dns == NULL)
        return 0;
    int r = take_words("servers", dns->servers, dns->n_servers, &spec->dns.servers, reterr);
    if (r >= 0)
        r = take_words("searches", dns->searches, dns->n_searches, &spec->dns.searches, reterr);
    if (r >= 0)
        r = take_words("options", dns->options, dns->n_options, &spec->dns.options, reterr);
    spec->has_dns = spec->dns.servers.n_items + spec->dns.searches.n_items +
                            spec->dns.options.n_items >
                    0;
    return r;
}

int convert_network(const Nomad__TaskConfig *config, struct task_spec *spec, struct fail *reterr)
{
    int r = take_isolation(config->network_isolation_spec, spec, reterr);
    if (r >= 0)
        r = take_ports(config->resources, spec, reterr);
    if (r >= 0)
        r = take_dns(config->dns, spec, reterr);
    return r;
}
