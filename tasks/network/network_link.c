#include "tasks/network/network_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/netns.h"
#include "tasks/kernel/rtnl.h"

#define CLEANUP_RTNL CLEANUP(rtnl_closep)

/* --- the host's side ------------------------------------------------------------------------- */

/* The other end of the link, and the bridge it is in. */
static int find_host(struct rtnl *inside, struct rtnl *host, const char *name,
                     struct rtnl_link *ret_end, struct rtnl_link *ret_bridge)
{
    struct rtnl_link link;

    int r = rtnl_find_link(inside, name, &link);
    if (r < 0)
        return r;
    if (!link.is_veth || link.peer_index == 0)
        return -ENODEV;
    r = rtnl_find_index(host, link.peer_index, ret_end);
    if (r < 0)
        return r;
    *ret_bridge = *ret_end;
    return ret_end->master_index == 0 ? 0
                                      : rtnl_find_index(host, ret_end->master_index, ret_bridge);
}

int network_link_find_host(int netns_fd, const char *name, char ret_host[IFNAMSIZ])
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *inside = rtnl_open(netns_fd, &r);
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);
    struct rtnl_link end, bridge;

    if (inside == NULL || host == NULL)
        return r;
    r = find_host(inside, host, name, &end, &bridge);
    if (r >= 0)
        memcpy(ret_host, bridge.name, IFNAMSIZ);
    return r;
}

int network_link_set_hairpin(int netns_fd, const char *name)
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *inside = rtnl_open(netns_fd, &r);
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);
    struct rtnl_link end, bridge;

    if (inside == NULL || host == NULL)
        return r;
    r = find_host(inside, host, name, &end, &bridge);
    return r < 0 || end.master_index == 0 ? r : rtnl_set_hairpin(host, end.index);
}

static int set_up_host(struct rtnl *inside, struct rtnl *host, const struct network_link *link)
{
    struct rtnl_link end, bridge;

    int r = find_host(inside, host, link->name, &end, &bridge);
    if (r < 0)
        return r;
    r = rtnl_set_up(host, end.index);
    if (r >= 0 && bridge.index != end.index)
        r = rtnl_set_up(host, bridge.index);
    for (size_t i = 0; r >= 0 && i < NETWORK_RECORD_FAMILIES; i++) {
        struct address one = link->addresses[i];
        if (address_is_set(&link->hosts[i])) {
            r = rtnl_add_address(host, bridge.index, &link->hosts[i]);
        } else if (link->is_routed && address_is_set(&one)) {
            one.prefix = address_bits(&one);
            r = rtnl_add_route(host, bridge.index, &one);
        }
    }
    return r;
}

/* --- inside ---------------------------------------------------------------------------------- */

/* Neighbours that know the address from another container, under its hardware address, would go on
 * to send to that for a while: the kernel is to tell them when the link comes up. */
static void announce(int netns_fd, const char *name)
{
    CLEANUP_FREE char *ipv4 = alloc_printf("net/ipv4/conf/%s/arp_notify", name);
    CLEANUP_FREE char *ipv6 = alloc_printf("net/ipv6/conf/%s/ndisc_notify", name);

    (void)netns_write_sysctl(netns_fd, ipv4, "1");
    (void)netns_write_sysctl(netns_fd, ipv6, "1"); /* may have no IPv6 */
}

static int set_up_inside(int netns_fd, struct rtnl *inside, const struct network_link *link)
{
    struct rtnl_link found;

    int r = rtnl_find_link(inside, link->name, &found);
    if (r >= 0)
        announce(netns_fd, found.name);
    for (size_t i = 0; r >= 0 && i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&link->addresses[i]))
            r = rtnl_add_address(inside, found.index, &link->addresses[i]);
    if (r >= 0)
        r = rtnl_set_up(inside, found.index);
    for (size_t i = 0; r >= 0 && i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&link->gateways[i]))
            r = rtnl_add_gateway(inside, found.index, &link->gateways[i]);
    return r;
}

int network_link_set_up(int netns_fd, const struct network_link *link, struct fail *reterr)
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *inside = rtnl_open(netns_fd, &r);
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);

    if (inside == NULL || host == NULL)
        return fail_set_recoverable(reterr, r, "cannot reach the container's network: %s",
                                    strerror(-r));
    r = set_up_host(inside, host, link);
    if (r == -ENODEV) /* not one that has an end here */
        r = 0;
    if (r < 0)
        return fail_set(reterr, r,
                        "cannot set the address of the host's end of the container's link: %s",
                        strerror(-r));
    r = set_up_inside(netns_fd, inside, link);
    if (r < 0)
        return fail_set(reterr, r, "cannot set the container's address on its interface '%s': %s",
                        link->name, strerror(-r));
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

/* `index` 0: of any link. */
static int read_addresses(struct rtnl *rtnl, unsigned index,
                          struct address ret[NETWORK_RECORD_FAMILIES])
{
    struct rtnl_address *list = NULL;
    size_t n = 0;

    int r = rtnl_list_addresses(rtnl, &list, &n);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        ret[i] = (struct address){};
    for (size_t i = 0; r >= 0 && i < n; i++) {
        struct address *to = &ret[list[i].address.family == AF_INET ? NETWORK_RECORD_IPV4
                                                                    : NETWORK_RECORD_IPV6];
        if ((index == 0 || list[i].index == index) && !address_is_set(to) &&
            !address_is_link_local(&list[i].address))
            *to = list[i].address;
    }
    free(list);
    return r;
}

int network_link_read(int netns_fd, const char *name, struct address ret[NETWORK_RECORD_FAMILIES])
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *inside = rtnl_open(netns_fd, &r);
    struct rtnl_link link;

    if (inside == NULL)
        return r;
    r = rtnl_find_link(inside, name, &link);
    return r < 0 ? r : read_addresses(inside, link.index, ret);
}

int network_link_read_any(int netns_fd, struct address ret[NETWORK_RECORD_FAMILIES])
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *inside = rtnl_open(netns_fd, &r);

    return inside == NULL ? r : read_addresses(inside, 0, ret);
}

/* --- bridges --------------------------------------------------------------------------------- */

void network_link_leave_bridge(const char *bridge, const struct address *hosts, size_t n)
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);
    struct rtnl_link link;

    if (host == NULL || rtnl_find_link(host, bridge, &link) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (address_is_set(&hosts[i]))
            (void)rtnl_delete_address(host, link.index, &hosts[i]);
}

void network_link_remove_empty_bridge(const char *bridge)
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);
    struct rtnl_link link;
    size_t n_ports = 1;

    if (host == NULL || rtnl_find_link(host, bridge, &link) < 0 || !link.is_bridge)
        return;
    if (rtnl_count_ports(host, link.index, &n_ports) >= 0 && n_ports == 0)
        (void)rtnl_delete_link(host, link.index);
}

bool network_link_exists(const char *name)
{
    int r = 0;
    CLEANUP_RTNL struct rtnl *host = rtnl_open(-EBADF, &r);
    struct rtnl_link link;

    return host != NULL && rtnl_find_link(host, name, &link) >= 0;
}
