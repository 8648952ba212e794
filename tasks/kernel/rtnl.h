/* Links, addresses and routes of one network namespace, by rtnetlink(7). The kernel answers before
 * the request's send returns, so nothing here waits. All results are negative errno on failure. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "tasks/kernel/address.h"

struct rtnl;

struct rtnl_link {
    unsigned index, peer_index; /* peer: of a virtual Ethernet link its other end, of a macvlan what
                                   it is on, both in their own namespaces; or 0 */
    unsigned master_index;      /* the bridge that it is in; 0: none */
    bool is_up, is_bridge, is_veth;
    char name[IFNAMSIZ];
};

/* `netns_fd`: negative for our own namespace. NULL, and *ret_error. */
struct rtnl *rtnl_open(int netns_fd, int *ret_error);
struct rtnl *rtnl_close(struct rtnl *rtnl);
static inline void rtnl_closep(struct rtnl **rtnl)
{
    (void)rtnl_close(*rtnl);
}

/* `name` may end with '*': the first that begins so. -ENODEV. */
int rtnl_find_link(struct rtnl *rtnl, const char *name, struct rtnl_link *ret);
int rtnl_find_index(struct rtnl *rtnl, unsigned index, struct rtnl_link *ret);
int rtnl_count_ports(struct rtnl *rtnl, unsigned bridge, size_t *ret_n);
int rtnl_set_up(struct rtnl *rtnl, unsigned index);
/* Of a bridge's port: what came in by it may go out by it, too. */
int rtnl_set_hairpin(struct rtnl *rtnl, unsigned index);
int rtnl_delete_link(struct rtnl *rtnl, unsigned index);

/* An address that is there already is as good as added, one that is not as good as deleted. IPv6
 * addresses are good at once: no duplicates are looked for. */
int rtnl_add_address(struct rtnl *rtnl, unsigned index, const struct address *address);
int rtnl_delete_address(struct rtnl *rtnl, unsigned index, const struct address *address);

/* The default route, over a gateway that need not be in the network of any address. */
int rtnl_add_gateway(struct rtnl *rtnl, unsigned index, const struct address *gateway);
/* To one network, directly. */
int rtnl_add_route(struct rtnl *rtnl, unsigned index, const struct address *network);
/* The links of IPv6's default routes that came by a router's advertisement, whoever has read it.
 * *ret is heap. */
int rtnl_list_advertised(struct rtnl *rtnl, unsigned **ret, size_t *ret_n);

/* Every address that is good beyond its host and its link, in the kernel's order. */
struct rtnl_address {
    unsigned index;
    struct address address;
};
/* *ret is heap. */
int rtnl_list_addresses(struct rtnl *rtnl, struct rtnl_address **ret, size_t *ret_n);
