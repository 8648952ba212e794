#include "tasks/network/nft_rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "reactor/utf8.h"

/* To remove what may not be there: it is made first. All in one transaction. */
#define REMOVAL "table inet " NFT_RULES_TABLE "\ndelete table inet " NFT_RULES_TABLE "\n"

/* What is published at an address goes before what is published at all. nat chains see the first
 * packet of a connection only; so answers are never touched.
 *
 * No networks and ranges in sets: a kernel may show what is in a new one only after the rules that
 * ask it are in force, and what comes between would pass them. */
static const char chains[] =
    /* With route_localnet a container could reach what listens on the host's loopback only. Before
     * addresses are translated: of what comes back to 127.0.0.1 the wire has another one. */
    "    chain guard {\n"
    "        type filter hook prerouting priority raw; policy accept;\n"
    "        meta iifkind { \"veth\", \"bridge\" } ip daddr 127.0.0.0/8 drop\n"
    "        meta iifkind { \"veth\", \"bridge\" } ip saddr 127.0.0.0/8 drop\n"
    "    }\n"
    "    chain arriving {\n"
    "        type nat hook prerouting priority dstnat; policy accept;\n"
    "        ip daddr 127.0.0.0/8 return\n"
    "        meta l4proto { tcp, udp } goto published\n"
    "    }\n"
    "    chain from_host {\n"
    "        type nat hook output priority -100; policy accept;\n"
    "        meta l4proto { tcp, udp } goto published\n"
    "    }\n"
    "    chain published {\n"
    "        dnat ip to ip daddr . meta l4proto . th dport map @ports4\n"
    "        dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6\n"
    "        ip daddr 127.0.0.2-127.255.255.255 return\n"
    "        ip daddr 127.0.0.1 meta l4proto . th dport @kept4 return\n"
    "        ip6 daddr ::1 return\n"
    "        ip6 daddr fe80::/10 return\n"
    "        fib daddr type local dnat ip to meta l4proto . th dport map @all4\n"
    "        fib daddr type local dnat ip6 to meta l4proto . th dport map @all6\n"
    "    }\n"
    "    chain leaving {\n"
    "        type nat hook postrouting priority srcnat; policy accept;\n"
    "        ip saddr 127.0.0.0/8 ip daddr @targets4 masquerade\n"
    "        ct status dnat jump same_network\n"
    "        goto out_of_pools\n"
    "    }\n";

struct family {
    const char *digit, *type, *protocol;
};

static const struct family four = { "4", "ipv4_addr", "ip" };
static const struct family six = { "6", "ipv6_addr", "ip6" };

static const char *const protocols[] = { "tcp", "udp" };

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct family *family_of(const struct address *address)
{
    return address->family == AF_INET ? &four : &six;
}

/* --- order ----------------------------------------------------------------------------------- */

static int compare_addresses(const struct address *a, const struct address *b)
{
    return a->family != b->family ? a->family - b->family
                                  : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* By what makes an element's key. */
static int compare_keys(const struct nft_port *a, const struct nft_port *b)
{
    if (a->to.family != b->to.family)
        return a->to.family - b->to.family;
    int r = compare_addresses(&a->host, &b->host);
    return r != 0 ? r : a->host_port - b->host_port;
}

static int compare_ports(const void *a, const void *b)
{
    const struct nft_port *x = a, *y = b;

    int r = compare_keys(x, y);
    if (r == 0)
        r = compare_addresses(&x->to, &y->to);
    return r != 0 ? r : x->to_port - y->to_port;
}

/* What has others in it goes before them. */
static int compare_networks(const void *a, const void *b)
{
    const struct address *x = a, *y = b;

    int r = compare_addresses(x, y);
    return r != 0 ? r : (int)x->prefix - (int)y->prefix;
}

/* A copy, in order and of each key one. */
static struct nft_port *sorted_ports(const struct nft_rules *rules, size_t *ret_n)
{
    struct nft_port *ports = alloc_zero(rules->n_ports + 1, sizeof(*ports));
    size_t n = 0;

    for (size_t i = 0; i < rules->n_ports; i++) {
        const struct nft_port *port = &rules->ports[i];
        assert(address_is_set(&port->to));
        assert(!address_is_set(&port->host) || port->host.family == port->to.family);
        ports[i] = *port;
    }
    qsort(ports, rules->n_ports, sizeof(*ports), compare_ports);
    for (size_t i = 0; i < rules->n_ports; i++)
        if (n == 0 || compare_keys(&ports[n - 1], &ports[i]) != 0)
            ports[n++] = ports[i];
    *ret_n = n;
    return ports;
}

/* Sorts them and drops what is within another. Answers how many are left. */
static size_t merge_networks(struct address *networks, size_t n_networks)
{
    size_t n = 0;

    qsort(networks, n_networks, sizeof(*networks), compare_networks);
    for (size_t i = 0; i < n_networks; i++)
        if (n == 0 || !address_is_in(&networks[i], &networks[n - 1]))
            networks[n++] = networks[i];
    return n;
}

/* --- text ------------------------------------------------------------------------------------ */

/* nft knows no way to quote a quotation mark. */
static char *comment_of(const struct nft_port *port)
{
    const char *machine = port->machine != NULL ? port->machine : "";
    const char *label = port->label != NULL ? port->label : "";
    CLEANUP_FREE char *text = alloc_printf("%s %s", machine, label);
    CLEANUP_FREE char *clean = utf8_clean(text);
    size_t n = 0, n_char;

    while ((n_char = utf8_sequence(clean + n, strlen(clean + n))) > 0 &&
           n + n_char <= NFT_RULES_COMMENT_MAX)
        n += n_char;
    clean[n] = '\0';
    for (char *c = clean; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == '"' || *c == '\x7f')
            *c = '?';
    return TAKE_PTR(clean);
}

/* Empties `elements`. */
static void add_set(struct strv *text, const char *kind, const char *name, const char *type,
                    struct strv *elements)
{
    CLEANUP_FREE char *list = strv_join(elements, ",\n            ");

    strv_printf(text, "    %s %s {\n        type %s\n", kind, name, type);
    if (elements->n_items > 0)
        strv_printf(text, "        elements = {\n            %s\n        }\n", list);
    strv_push(text, "    }\n");
    strv_done(elements);
}

/* The same for each protocol; "" is no address. */
static void push_port(struct strv *elements, const char *host, const struct nft_port *port)
{
    CLEANUP_FREE char *comment = comment_of(port);
    CLEANUP_FREE char *to = address_text(&port->to);

    for (size_t i = 0; i < N(protocols); i++)
        strv_printf(elements, "%s%s%s . %u comment \"%s\" : %s . %u", host,
                    *host != '\0' ? " . " : "", protocols[i], port->host_port, comment, to,
                    port->to_port);
}

static void add_ports(struct strv *text, const struct family *family, const struct nft_port *ports,
                      size_t n_ports)
{
    CLEANUP_FREE char *ports_name = alloc_printf("ports%s", family->digit);
    CLEANUP_FREE char *all_name = alloc_printf("all%s", family->digit);
    CLEANUP_FREE char *all_type = alloc_printf("inet_proto . inet_service : %s . inet_service",
                                               family->type);
    CLEANUP_FREE char *ports_type = alloc_printf("%s . %s", family->type, all_type);
    struct strv at_one = {}, at_all = {};

    for (size_t i = 0; i < n_ports; i++) {
        bool is_at_one = address_is_set(&ports[i].host);
        CLEANUP_FREE char *host = is_at_one ? address_text(&ports[i].host) : alloc_strdup("");
        push_port(is_at_one ? &at_one : &at_all, host, &ports[i]);
    }
    add_set(text, "map", ports_name, ports_type, &at_one);
    add_set(text, "map", all_name, all_type, &at_all);
}

/* What 127.0.0.1 wants; of IPv6 there is nothing like it. */
static void add_loopback(struct strv *text, const struct nft_port *ports, size_t n_ports)
{
    struct address *targets = alloc_zero(n_ports + 1, sizeof(*targets));
    struct strv kept = {}, elements = {};

    for (size_t i = 0; i < n_ports; i++) {
        targets[i] = address_from_bytes(AF_INET, ports[i].to.bytes, 32);
        for (size_t j = 0; ports[i].keeps_loopback && j < N(protocols); j++)
            strv_printf(&kept, "%s . %u", protocols[j], ports[i].host_port);
    }
    size_t n = merge_networks(targets, n_ports);
    for (size_t i = 0; i < n; i++)
        strv_push_owned(&elements, address_text(&targets[i]));
    free(targets);
    add_set(text, "set", "kept4", "inet_proto . inet_service", &kept);
    add_set(text, "set", "targets4", "ipv4_addr", &elements);
}

/* The table stays, with its chains' places in the kernel and its maps, and what is in them is not
 * missed: to a packet either the old is there or the new. */
static void add_emptying(struct strv *text)
{
    static const char *const sets[] = { "map ports4", "map all4",  "map ports6",
                                        "map all6",   "set kept4", "set targets4" };

    strv_push(text, "flush table inet " NFT_RULES_TABLE "\n");
    for (size_t i = 0; i < N(sets); i++) {
        size_t n_kind = strlen("map ");
        strv_printf(text, "flush %.*sinet " NFT_RULES_TABLE " %s\n", (int)n_kind, sets[i],
                    sets[i] + n_kind);
    }
}

/* Of each network with a published container: its own members' connections to it. */
static void add_same_network(struct strv *text, const struct nft_port *ports, size_t n_ports)
{
    struct address *networks = alloc_zero(n_ports + 1, sizeof(*networks));

    for (size_t i = 0; i < n_ports; i++)
        networks[i] = address_network(&ports[i].to);
    size_t n = merge_networks(networks, n_ports);
    strv_push(text, "    chain same_network {\n");
    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *cidr = address_cidr(&networks[i]);
        const char *protocol = family_of(&networks[i])->protocol;
        strv_printf(text, "        %s saddr %s %s daddr %s masquerade\n", protocol, cidr, protocol,
                    cidr);
    }
    strv_push(text, "    }\n");
    free(networks);
}

static void add_out_of_pools(struct strv *text, const struct nft_rules *rules)
{
    struct address *pools = alloc_zero(rules->n_pools + 1, sizeof(*pools));
    CLEANUP(strv_done) struct strv into = {}, out = {};

    for (size_t i = 0; i < rules->n_pools; i++)
        pools[i] = address_network(&rules->pools[i]);
    size_t n = merge_networks(pools, rules->n_pools);
    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *cidr = address_cidr(&pools[i]);
        const char *protocol = family_of(&pools[i])->protocol;
        strv_printf(&into, "        %s daddr %s return\n", protocol, cidr);
        strv_printf(&out, "        %s saddr %s masquerade\n", protocol, cidr);
    }
    strv_push(text, "    chain out_of_pools {\n");
    strv_copy(text, &into);
    strv_push(text, "        fib daddr type { local, broadcast, multicast } return\n");
    strv_copy(text, &out);
    strv_push(text, "    }\n");
    free(pools);
}

static char *make(const struct nft_rules *rules, bool in_place)
{
    CLEANUP(strv_done) struct strv text = {};
    size_t n_ports, n_ports4 = 0;

    if (rules->n_ports == 0 && rules->n_pools == 0)
        return alloc_strdup(REMOVAL);
    struct nft_port *ports = sorted_ports(rules, &n_ports);
    while (n_ports4 < n_ports && ports[n_ports4].to.family == AF_INET)
        n_ports4++;
    if (in_place)
        add_emptying(&text);
    else
        strv_push(&text, REMOVAL);
    strv_push(&text, "table inet " NFT_RULES_TABLE " {\n");
    add_ports(&text, &four, ports, n_ports4);
    add_ports(&text, &six, ports + n_ports4, n_ports - n_ports4);
    add_loopback(&text, ports, n_ports4);
    strv_push(&text, chains);
    add_same_network(&text, ports, n_ports);
    add_out_of_pools(&text, rules);
    strv_push(&text, "}\n");
    free(ports);
    return strv_join(&text, "");
}

char *nft_rules_make(const struct nft_rules *rules)
{
    return make(rules, false);
}

char *nft_rules_update(const struct nft_rules *rules)
{
    return make(rules, true);
}
