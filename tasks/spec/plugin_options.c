#include "tasks/spec/plugin_options.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "tasks/spec/option_decode.h"

const struct option_row plugin_options[] = {
    {
        OPTION_BOOL(struct plugin_config, enabled),
        .schema_default = "true",
        .help = "`false`: the driver reports itself as not there, and gets no tasks.",
    },
    {
        OPTION_BOOL(struct plugin_config, volumes),
        .schema_default = "true",
        .help = "`false`: tasks with volume mounts (host volumes, CSI) are refused.",
    },
    {
        OPTION_BOOL(struct plugin_config, seccomp_cache),
        .schema_default = "true",
        .help = "`false`: systemd-nspawn compiles its system call filters anew for each single "
                "process. By default they are read once from a container that it has set up, and "
                "the very same are installed in later ones, which start in half the time.",
    },
    {
        OPTION_STRING(struct plugin_config, network_pool),
        .schema_default = "\"10.187.0.0/16\"",
        .help = "IPv4 network from which containers with `network_address = \"auto\"` get their "
                "addresses: four for each container with a link of its own, 256 for each zone or "
                "bridge. It must not be in use where the host can reach it.",
    },
    {
        OPTION_STRING(struct plugin_config, network_pool6),
        .schema_default = "\"fd6e:7370:6177:6e00::/96\"",
        .help = "IPv6 network of at most 96 bits for the same: an address is this one and the IPv4 "
                "address behind it. `off`: no IPv6 addresses.",
    },
    {},
};

/* `bits_max` is also where the host's part may begin at the latest. */
static int parse_network(const char *option, const char *text, int family, unsigned bits_min,
                         unsigned bits_max, struct address *ret, struct fail *reterr)
{
    struct address network = {};

    if (address_parse(text, &network) < 0 || network.family != family ||
        network.prefix < bits_min || network.prefix > bits_max)
        return fail_set(reterr, -EINVAL,
                        "option '%s': '%s': expected an %s network of %u to %u bits, like %s",
                        option, text, family == AF_INET ? "IPv4" : "IPv6", bits_min, bits_max,
                        family == AF_INET ? "10.187.0.0/16" : "fd6e:7370:6177:6e00::/96");
    struct address first = address_network(&network);
    if (!address_is_same(&first, &network)) {
        CLEANUP_FREE char *right = address_cidr(&first);
        return fail_set(reterr, -EINVAL,
                        "option '%s': '%s' is an address in a network; write the network: %s",
                        option, text, right);
    }
    *ret = network;
    return 0;
}

static int parse_pools(struct plugin_config *config, struct fail *reterr)
{
    int r = parse_network("network_pool", config->network_pool, AF_INET,
                          PLUGIN_OPTIONS_POOL_BITS_MIN, PLUGIN_OPTIONS_POOL_BITS_MAX,
                          &config->pool, reterr);

    if (r < 0 || strcmp(config->network_pool6, "off") == 0)
        return r;
    return parse_network("network_pool6", config->network_pool6, AF_INET6, 1,
                         PLUGIN_OPTIONS_POOL6_BITS_MAX, &config->pool6, reterr);
}

int plugin_options_decode(struct plugin_config *config, const uint8_t *bytes, size_t n_bytes,
                         struct fail *reterr)
{
    int r = option_decode(plugin_options, config, bytes, n_bytes, reterr);

    if (r >= 0)
        r = parse_pools(config, reterr);
    if (r >= 0)
        return 0;
    plugin_options_done(config);
    options_init(plugin_options, config);
    int defaults = parse_pools(config, NULL);
    assert(defaults >= 0);
    return r;
}

void plugin_options_done(struct plugin_config *config)
{
    options_done(plugin_options, config);
    *config = (struct plugin_config){};
}
