#include "tasks/network/networks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "reactor/worker.h"
#include "tasks/kernel/conntrack.h"
#include "tasks/kernel/file.h"
#include "tasks/network/address_pool.h"
#include "tasks/network/packet_filter.h"
#include "tasks/network/port_probe.h"

/* Only ends what hangs. */
#define FORGETTING_SEC 60

struct entry {
    LIST_ENTRY(entry) link;
    struct network_record record;
};

struct networks {
    sd_event *event;
    const struct plugin_config *config;
    char *root;
    bool is_loaded;
    LIST_HEAD(, entry) entries;
    struct packet_filter *filter;
    struct conntrack_ports *published; /* by the rules before those in force; NULL: none yet */
    struct worker *forgetting;        /* of what the kernel remembers of older rules */
    bool is_forgetting_again;
};

/* --- files ----------------------------------------------------------------------------------- */

static char *path_of(const struct networks *networks, const char *machine)
{
    return alloc_printf("%s/%s/" NETWORKS_RECORD_FILE, networks->root, machine);
}

static struct entry *find(const struct networks *networks, const char *machine)
{
    struct entry *entry;

    LIST_FOREACH(entry, &networks->entries, link)
        if (strcmp(entry->record.machine, machine) == 0)
            return entry;
    return NULL;
}

static struct entry *add(struct networks *networks, const char *machine)
{
    struct entry *entry = ALLOC_NEW(struct entry);

    entry->record.machine = alloc_strdup(machine);
    LIST_INSERT_HEAD(&networks->entries, entry, link);
    return entry;
}

static void drop(struct entry *entry)
{
    LIST_REMOVE(entry, link);
    network_record_done(&entry->record);
    free(entry);
}

static int read_text(const char *path, char **ret)
{
    CLEANUP_FREE char *text = NULL;
    size_t n_bytes;

    int r = file_read(AT_FDCWD, path, O_NOFOLLOW, NETWORK_RECORD_BYTES_MAX, &text, &n_bytes);
    if (r < 0)
        return r;
    if (strlen(text) != n_bytes)
        return -EINVAL;
    *ret = TAKE_PTR(text);
    return 0;
}

static void load_record(struct networks *networks, const char *machine)
{
    CLEANUP_FREE char *path = path_of(networks, machine), *text = NULL;
    CLEANUP_FAIL struct fail fail = {};
    struct network_record record = {};

    int r = read_text(path, &text);
    if (r == -ENOENT || r == -ENOTDIR)
        return;
    if (r < 0)
        (void)fail_set(&fail, r, "%s", strerror(-r));
    else
        r = network_record_parse(text, &record, &fail);
    if (r < 0) {
        log_warn("cannot read '%s': %s; its ports and its address are forgotten", path,
                 fail_text(&fail));
        return;
    }
    struct entry *entry = add(networks, machine);
    record.machine = TAKE_PTR(entry->record.machine);
    entry->record = record;
}

static void load(struct networks *networks)
{
    const struct dirent *item;

    if (networks->is_loaded)
        return;
    networks->is_loaded = true;
    DIR *dir = opendir(networks->root);
    if (dir == NULL)
        return;
    while ((item = readdir(dir)) != NULL)
        if (item->d_name[0] != '.')
            load_record(networks, item->d_name);
    (void)closedir(dir);
}

/* --- leases ---------------------------------------------------------------------------------- */

int networks_lease(struct networks *networks, const char *share, struct address *ret,
                   struct fail *reterr)
{
    const struct entry *entry;
    struct address_lease *leases = NULL;
    size_t n = 0;

    load(networks);
    LIST_FOREACH(entry, &networks->entries, link) {
        leases = alloc_grow(leases, n + 1, sizeof(*leases));
        leases[n++] = (struct address_lease){ entry->record.share, entry->record.lease };
    }
    int r = address_pool_take(&networks->config->pool, leases, n, share, ret, reterr);
    free(leases);
    return r;
}

bool networks_share_is_used(struct networks *networks, const char *share, const char *machine)
{
    const struct entry *entry;

    load(networks);
    LIST_FOREACH(entry, &networks->entries, link)
        if (entry->record.share != NULL && strcmp(entry->record.share, share) == 0 &&
            address_is_set(&entry->record.lease) && strcmp(entry->record.machine, machine) != 0)
            return true;
    return false;
}

/* IPv6 is of the pool that the address was made with, whatever the configuration is by now. */
void networks_hosts(const struct networks *networks, const struct network_record *record,
                    struct address ret[NETWORK_RECORD_FAMILIES])
{
    const struct address *pool6 = &networks->config->pool6;
    struct address host = {};

    if (!address_is_set(&record->lease))
        return;
    ret[NETWORK_RECORD_IPV4] = host = address_pool_gateway(&record->lease);
    if (address_is_set(&record->addresses[NETWORK_RECORD_IPV6]))
        pool6 = &record->addresses[NETWORK_RECORD_IPV6];
    if (address_is_set(pool6)) {
        struct address network = *pool6;
        network.prefix = ADDRESS_POOL_IPV6_BITS;
        ret[NETWORK_RECORD_IPV6] = address_pool_address6(&network, &host);
    }
}

bool networks_owns_zone(struct networks *networks, const char *share)
{
    const struct entry *entry;

    load(networks);
    LIST_FOREACH(entry, &networks->entries, link)
        if (entry->record.is_owned && strcmp(entry->record.share, share) == 0)
            return true;
    return false;
}

void networks_list_zones(struct networks *networks, struct strv *ret)
{
    const struct entry *entry;

    load(networks);
    LIST_FOREACH(entry, &networks->entries, link)
        if (entry->record.is_owned && !strv_contains(ret, entry->record.share))
            strv_push(ret, entry->record.share);
}

/* --- ports ----------------------------------------------------------------------------------- */

static bool is_overlap(const struct network_port *a, const struct network_port *b)
{
    if (a->host_port != b->host_port)
        return false;
    return !address_is_set(&a->host) || !address_is_set(&b->host) ||
           address_is_same(&a->host, &b->host);
}

static int check_port(const struct networks *networks, const char *machine,
                      const struct network_port *port, struct fail *reterr)
{
    const struct entry *entry;
    const char *protocol;

    LIST_FOREACH(entry, &networks->entries, link) {
        if (strcmp(entry->record.machine, machine) == 0)
            continue;
        for (size_t i = 0; i < entry->record.n_ports; i++)
            if (is_overlap(port, &entry->record.ports[i]))
                return fail_set_recoverable(reterr, -EADDRINUSE,
                                            "port %u of the host (\"%s\") is that of the machine "
                                            "'%s' already",
                                            port->host_port, port->label, entry->record.machine);
    }
    if (port_probe(&port->host, port->host_port, &protocol) >= 0)
        return 0;
    return fail_set_recoverable(reterr, -EADDRINUSE,
                                "port %u of the host (\"%s\") is taken by a program of the host "
                                "(%s); see 'ss -lnp', and stop that program or choose another port",
                                port->host_port, port->label, protocol);
}

int networks_check_ports(struct networks *networks, const struct network_record *record,
                         struct fail *reterr)
{
    load(networks);
    for (size_t i = 0; i < record->n_ports; i++) {
        int r = check_port(networks, record->machine, &record->ports[i], reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- records --------------------------------------------------------------------------------- */

static bool is_in_script(const struct network_record *record)
{
    return record->n_ports > 0 || address_is_set(&record->lease);
}

int networks_set(struct networks *networks, struct network_record *record, struct fail *reterr)
{
    CLEANUP_FREE char *path = path_of(networks, record->machine);
    CLEANUP_FREE char *text = network_record_format(record);

    load(networks);
    int r = file_write(path, text, strlen(text), 0600);
    if (r < 0)
        return fail_set_recoverable(reterr, r, "cannot write '%s': %s", path, strerror(-r));
    struct entry *entry = find(networks, record->machine);
    if (entry == NULL)
        entry = add(networks, record->machine);
    bool was_in_script = is_in_script(&entry->record);
    network_record_done(&entry->record);
    entry->record = *record;
    *record = (struct network_record){};
    if (was_in_script || is_in_script(&entry->record))
        packet_filter_change(networks->filter);
    return 0;
}

const struct network_record *networks_find(struct networks *networks, const char *machine)
{
    load(networks);
    const struct entry *entry = find(networks, machine);
    return entry != NULL ? &entry->record : NULL;
}

void networks_remove(struct networks *networks, const char *machine)
{
    CLEANUP_FREE char *path = path_of(networks, machine);

    load(networks);
    struct entry *entry = find(networks, machine);
    if (entry == NULL)
        return;
    bool was_in_script = is_in_script(&entry->record);
    drop(entry);
    (void)unlink(path);
    if (was_in_script)
        packet_filter_change(networks->filter);
}

static void make_script(bool is_update, struct networks_script *ret, void *data)
{
    const struct networks *networks = data;
    const struct network_record **records = NULL;
    const struct entry *entry;
    size_t n = 0;

    LIST_FOREACH(entry, &networks->entries, link) {
        records = (const struct network_record **)alloc_grow((void *)records, n + 1,
                                                             sizeof(*records));
        records[n++] = &entry->record;
    }
    networks_script_make(records, n, networks->config, is_update, ret);
    free((void *)records);
}

/* --- what the kernel remembers --------------------------------------------------------------- */

struct forgetting {
    struct conntrack_ports ports;
    struct conntrack_target *targets;
    size_t n_targets;
};

static int run_forgetting(const void *args)
{
    const struct forgetting *forgetting = args;

    return conntrack_forget_udp(&forgetting->ports, forgetting->targets, forgetting->n_targets);
}

static void forget(struct networks *networks);

static void on_forgotten(int error, void *data)
{
    struct networks *networks = data;

    networks->forgetting = NULL;
    if (error < 0)
        log_info("udp flows may still go where ports led before: %s, ignoring", strerror(-error));
    if (networks->is_forgetting_again)
        forget(networks);
}

static void add_targets(const struct network_record *record, struct forgetting *forgetting)
{
    for (size_t i = 0; i < record->n_ports; i++)
        for (size_t j = 0; j < NETWORK_RECORD_FAMILIES; j++) {
            if (!address_is_set(&record->addresses[j]))
                continue;
            forgetting->targets = alloc_grow(forgetting->targets, forgetting->n_targets + 1,
                                             sizeof(*forgetting->targets));
            forgetting->targets[forgetting->n_targets++] = (struct conntrack_target){
                .host_port = record->ports[i].host_port,
                .port = record->ports[i].port,
                .to = record->addresses[j],
            };
        }
}

/* A busy host remembers very much, and to look at all of it takes a while. */
static void forget(struct networks *networks)
{
    struct forgetting forgetting = {};
    const struct entry *entry;

    networks->is_forgetting_again = networks->forgetting != NULL;
    if (networks->is_forgetting_again)
        return;
    if (networks->published == NULL)
        networks->published = ALLOC_NEW(struct conntrack_ports);
    forgetting.ports = *networks->published;
    memset(networks->published, 0, sizeof(*networks->published));
    LIST_FOREACH(entry, &networks->entries, link)
        add_targets(&entry->record, &forgetting);
    for (size_t i = 0; i < forgetting.n_targets; i++) {
        conntrack_ports_add(&forgetting.ports, forgetting.targets[i].host_port);
        conntrack_ports_add(networks->published, forgetting.targets[i].host_port);
    }
    if (!conntrack_ports_are_none(&forgetting.ports))
        networks->forgetting = worker_new(networks->event, run_forgetting, &forgetting,
                                          FORGETTING_SEC, on_forgotten, networks);
    free(forgetting.targets);
}

static void on_rules_changed(void *data)
{
    forget(data);
}

/* --- exported -------------------------------------------------------------------------------- */

struct packet_filter_op *networks_publish(struct networks *networks, packet_filter_done_fn done,
                                          void *data)
{
    load(networks);
    return packet_filter_await(networks->filter, done, data);
}

/* --- life ------------------------------------------------------------------------------------ */

struct networks *networks_new(sd_event *event, const struct plugin_config *config, const char *root)
{
    struct networks *networks = ALLOC_NEW(struct networks);

    networks->event = event;
    networks->config = config;
    networks->root = alloc_strdup(root);
    networks->filter = packet_filter_new(event, make_script, on_rules_changed, networks);
    LIST_INIT(&networks->entries);
    return networks;
}

struct networks *networks_free(struct networks *networks)
{
    if (networks == NULL)
        return NULL;
    networks->filter = packet_filter_free(networks->filter);
    networks->forgetting = worker_free(networks->forgetting);
    while (!LIST_EMPTY(&networks->entries))
        drop(LIST_FIRST(&networks->entries));
    free(networks->published);
    free(networks->root);
    free(networks);
    return NULL;
}
