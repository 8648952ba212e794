#include "tasks/spec/network_kind.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "reactor/alloc.h"

const struct network_kind_row network_kinds[NETWORK_KIND_MAX] = {
    [NETWORK_HOST] = { .owner = NETWORK_OWNER_NONE },
    [NETWORK_GROUP] = { .owner = NETWORK_OWNER_NOMAD },
    [NETWORK_ZONE] = { .option = "network_zone",
                       .name_bytes_max = NETWORK_KIND_ZONE_BYTES_MAX,
                       .link = "host0",
                       .bridge = "vz-%s",
                       .makes_bridge = true,
                       .owner = NETWORK_OWNER_DRIVER,
                       .reach = NETWORK_REACH_PORTS },
    [NETWORK_BRIDGE] = { .option = "network_bridge",
                         .name_bytes_max = NETWORK_KIND_INTERFACE_BYTES_MAX,
                         .link = "host0",
                         .bridge = "%s",
                         .owner = NETWORK_OWNER_DRIVER,
                         .reach = NETWORK_REACH_ADDRESS },
    /* Names that are too long are shortened. */
    [NETWORK_MACVLAN] = { .option = "network_macvlan",
                          .name_bytes_max = NETWORK_KIND_INTERFACE_BYTES_MAX,
                          .link = "mv-*",
                          .owner = NETWORK_OWNER_LAN,
                          .reach = NETWORK_REACH_ADDRESS },
    [NETWORK_IPVLAN] = { .option = "network_ipvlan",
                         .name_bytes_max = NETWORK_KIND_INTERFACE_BYTES_MAX,
                         .link = "iv-*",
                         .owner = NETWORK_OWNER_LAN,
                         .reach = NETWORK_REACH_ADDRESS },
    [NETWORK_INTERFACE] = { .option = "network_interface",
                            .name_bytes_max = NETWORK_KIND_INTERFACE_BYTES_MAX,
                            .link = "%s",
                            .owner = NETWORK_OWNER_LAN,
                            .reach = NETWORK_REACH_ADDRESS },
    [NETWORK_PRIVATE] = { .option = "private_network", .owner = NETWORK_OWNER_NONE },
    [NETWORK_VETH] = { .option = "network_veth",
                       .link = "host0",
                       .is_pair = true,
                       .owner = NETWORK_OWNER_DRIVER,
                       .reach = NETWORK_REACH_PORTS },
};

/* --- options --------------------------------------------------------------------------------- */

static const struct option_row *find_row(enum network_kind kind)
{
    const char *key = network_kinds[kind].option;

    return key != NULL ? option_find(task_option_rows, key, strlen(key)) : NULL;
}

/* The accessors of options are for writing, too. */
static void *base_of(const struct task_options *options)
{
    return (void *)(uintptr_t)options;
}

/* The name that the option says; "": it says none. */
static const char *value_of(const struct option_row *row, const struct task_options *options)
{
    const char *value = row != NULL && row->type == OPTION_TYPE_STRING
                            ? *option_string(row, base_of(options))
                            : NULL;

    return value != NULL ? value : "";
}

bool network_kind_is_chosen(enum network_kind kind, const struct task_options *options)
{
    const struct option_row *row = find_row(kind);

    if (row == NULL)
        return false;
    return row->type == OPTION_TYPE_TRISTATE
               ? *option_tristate(row, base_of(options)) == TRISTATE_YES
               : option_is_set(row, base_of(options));
}

enum network_kind network_kind_of(const struct task_options *options)
{
    for (enum network_kind kind = 0; kind < NETWORK_KIND_MAX; kind++)
        if (network_kind_is_chosen(kind, options))
            return kind;
    return NETWORK_HOST;
}

bool network_kind_has_option(const struct option_row *option)
{
    for (enum network_kind kind = 0; kind < NETWORK_KIND_MAX; kind++)
        if (network_kinds[kind].option != NULL &&
            strcmp(network_kinds[kind].option, option->key) == 0)
            return true;
    return false;
}

/* --- names ----------------------------------------------------------------------------------- */

/* Formats of a table can't be given to printf. */
static char *fill(const char *format, enum network_kind kind, const struct task_options *options)
{
    if (format == NULL)
        return NULL;
    const char *place = strstr(format, "%s");
    if (place == NULL)
        return alloc_strdup(format);
    assert(place[strlen("%s")] == '\0');
    return alloc_printf("%.*s%s", (int)(place - format), format, value_of(find_row(kind), options));
}

char *network_kind_argument(enum network_kind kind, const struct task_options *options)
{
    const struct option_row *row = find_row(kind);

    return row != NULL ? fill(row->argument, kind, options) : NULL;
}

char *network_kind_link(enum network_kind kind, const struct task_options *options)
{
    return fill(network_kinds[kind].link, kind, options);
}

char *network_kind_bridge(enum network_kind kind, const struct task_options *options)
{
    return fill(network_kinds[kind].bridge, kind, options);
}
