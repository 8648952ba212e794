#include "tasks/network/network_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"

/* Raised when a plugin that knows the older ones only would misread it. */
#define HEAD "nomad-driver-nspawn network 1"

/* --- out ------------------------------------------------------------------------------------- */

static void put_text(struct strv *lines, const char *key, const char *value)
{
    if (value != NULL)
        strv_printf(lines, "%s %s", key, value);
}

static void put_address(struct strv *lines, const char *key, const struct address *address)
{
    if (!address_is_set(address))
        return;
    CLEANUP_FREE char *text = address_cidr(address);
    put_text(lines, key, text);
}

static void put_port(struct strv *lines, const struct network_port *port)
{
    CLEANUP_FREE char *host = address_is_set(&port->host) ? address_text(&port->host)
                                                          : alloc_strdup("*");

    strv_printf(lines, "port %s %u %u %s", host, port->host_port, port->port, port->label);
}

char *network_record_format(const struct network_record *record)
{
    CLEANUP(strv_done) struct strv lines = {};

    strv_push(&lines, HEAD);
    put_text(&lines, "link", record->link);
    put_text(&lines,
             record->is_owned  ? "own-zone"
             : record->is_zone ? "zone"
                               : "bridge",
             record->share);
    put_address(&lines, "lease", &record->lease);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        put_address(&lines, "address", &record->addresses[i]);
    for (size_t i = 0; i < record->n_ports; i++)
        put_port(&lines, &record->ports[i]);
    strv_push(&lines, "");
    return strv_join(&lines, "\n");
}

/* --- in -------------------------------------------------------------------------------------- */

static int take_text(const char *value, char **ret)
{
    if (*ret != NULL || *value == '\0')
        return -EINVAL;
    *ret = alloc_strdup(value);
    return 0;
}

static int take_link(struct network_record *record, const char *value)
{
    return take_text(value, &record->link);
}

static int take_bridge(struct network_record *record, const char *value)
{
    return take_text(value, &record->share);
}

static int take_zone(struct network_record *record, const char *value)
{
    record->is_zone = true;
    return take_text(value, &record->share);
}

static int take_own_zone(struct network_record *record, const char *value)
{
    record->is_owned = true;
    return take_zone(record, value);
}

static int take_lease(struct network_record *record, const char *value)
{
    struct address address;

    if (address_parse(value, &address) < 0 || address.family != AF_INET || address.prefix < 8)
        return -EINVAL;
    record->lease = address;
    return 0;
}

static int take_address(struct network_record *record, const char *value)
{
    struct address address;

    if (address_parse(value, &address) < 0)
        return -EINVAL;
    record->addresses[address.family == AF_INET ? NETWORK_RECORD_IPV4 : NETWORK_RECORD_IPV6] =
            address;
    return 0;
}

static int take_port(struct network_record *record, const char *value)
{
    char host[64], label[256];
    unsigned host_port, port;
    struct network_port taken = {};

    if (sscanf(value, "%63s %5u %5u %255[^\n]", host, &host_port, &port, label) != 4 ||
        host_port < 1 || host_port > UINT16_MAX || port < 1 || port > UINT16_MAX ||
        record->n_ports == NETWORK_RECORD_PORTS_MAX)
        return -EINVAL;
    if (strcmp(host, "*") != 0 && address_parse(host, &taken.host) < 0)
        return -EINVAL;
    taken.host_port = (uint16_t)host_port;
    taken.port = (uint16_t)port;
    taken.label = alloc_strdup(label);
    record->ports = alloc_grow(record->ports, record->n_ports + 1, sizeof(*record->ports));
    record->ports[record->n_ports++] = taken;
    return 0;
}

static const struct {
    const char *key;
    int (*take)(struct network_record *record, const char *value);
} keys[] = {
    { "link", take_link },         { "bridge", take_bridge }, { "zone", take_zone },
    { "own-zone", take_own_zone }, { "lease", take_lease },   { "address", take_address },
    { "port", take_port },
};

static int take_line(struct network_record *record, char *line)
{
    char *value = strchr(line, ' ');

    if (value == NULL)
        return -EINVAL;
    *value++ = '\0';
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(keys[i].key, line) == 0)
            return keys[i].take(record, value);
    return 0; /* a later plugin's */
}

int network_record_parse(const char *text, struct network_record *ret, struct fail *reterr)
{
    CLEANUP_FREE char *copy = alloc_strdup(text);
    CLEANUP(network_record_done) struct network_record record = {};
    char *rest = copy, *line = strsep(&rest, "\n");
    size_t n = 1;

    if (strcmp(line, HEAD) != 0)
        return fail_set(reterr, -EINVAL, "it does not begin with '%s'", HEAD);
    while ((line = strsep(&rest, "\n")) != NULL) {
        n++;
        if (rest == NULL && *line == '\0')
            break;
        if (take_line(&record, line) < 0)
            return fail_set(reterr, -EINVAL, "line %zu is damaged", n);
    }
    *ret = record;
    record = (struct network_record){};
    return 0;
}

void network_record_copy(const struct network_record *from, struct network_record *to)
{
    *to = *from;
    to->machine = alloc_strdup(from->machine);
    to->link = alloc_strdup(from->link);
    to->share = alloc_strdup(from->share);
    network_ports_copy(from->ports, from->n_ports, &to->ports, &to->n_ports);
}

void network_record_done(struct network_record *record)
{
    free(record->machine);
    free(record->link);
    free(record->share);
    network_ports_done(record->ports, record->n_ports);
    *record = (struct network_record){};
}
