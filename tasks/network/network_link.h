/* The link of a container that runs: addresses and routes on both of its ends. Nothing here
 * waits. */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "reactor/fail.h"
#include "tasks/network/network_record.h"

struct network_link {
    const char *name; /* inside, as in the record */
    /* Of the container, its default routes, and what the host's end gets: of a link of its own that
     * is the other end, of a zone or bridge the bridge. Any may be none. IPv4 and IPv6. */
    struct address addresses[NETWORK_RECORD_FAMILIES], gateways[NETWORK_RECORD_FAMILIES],
            hosts[NETWORK_RECORD_FAMILIES];
    bool is_routed; /* without an address at the host's end: a route to the container's */
};

/* Sets all of it, and both ends up. */
int network_link_set_up(int netns_fd, const struct network_link *link, struct fail *reterr);

/* The host's end, or the bridge that it is in. -ENODEV: there is none (macvlan). */
int network_link_find_host(int netns_fd, const char *name, char ret_host[IFNAMSIZ]);

/* Lets a container that is in a bridge reach itself by a port that is published of it: with
 * br_netfilter its packets come back to it over the bridge. */
int network_link_set_hairpin(int netns_fd, const char *name);

/* The first address of each family that is good beyond one link; none where there is none. -ENODEV:
 * no such link. */
int network_link_read(int netns_fd, const char *name,
                      struct address ret[NETWORK_RECORD_FAMILIES]);

/* All addresses of a namespace, for /etc/hosts: the first of each family. */
int network_link_read_any(int netns_fd, struct address ret[NETWORK_RECORD_FAMILIES]);

/* Takes an address away from a bridge of the host, or an empty bridge away. Best effort. */
void network_link_leave_bridge(const char *bridge, const struct address *hosts, size_t n);
void network_link_remove_empty_bridge(const char *bridge);
bool network_link_exists(const char *name);
