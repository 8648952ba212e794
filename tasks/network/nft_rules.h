/* The rules of the packet filter for all tasks: one table of our own, written whole, so that it is
 * right whatever was there before. Pure: values in, the script for `nft -f -` out.
 *
 * The chains are few and always the same; what is published stands in maps. A client keeps its
 * address, unless answers would not come back through the host then: it is in the container's own
 * network, or is the host by 127.0.0.1. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/kernel/address.h"

#define NFT_RULES_TABLE "nomad_nspawn" /* of family inet */

/* Of an element's comment, in bytes; nft takes 128. */
#define NFT_RULES_COMMENT_MAX 128

/* What arrives at the host's port goes to a container's, tcp and udp alike. */
struct nft_port {
    const char *machine, *label; /* for whoever reads the table; any text, NULL */
    /* None: all of the host's own addresses of the family of `to`, 127.0.0.1 being one. Not so the
     * rest of 127/8, where a resolver may listen, and what IPv6 can't have translated: ::1 and
     * what is good only on one link. Of one given: of the family of `to`. */
    struct address host;
    uint16_t host_port;
    struct address to; /* the container's, with its network's prefix */
    uint16_t to_port;
    /* Of "all", 127.0.0.1 is left to a program of the host: its packets could not get to `to`. */
    bool keeps_loopback;
};

struct nft_rules {
    /* No two of one host address (and "all" is one), port, family: of such only one counts. */
    const struct nft_port *ports;
    size_t n_ports;
    const struct address *pools; /* of whose traffic the source is hidden when it leaves them */
    size_t n_pools;
};

/* Heap. Without ports and pools the script only removes the table.
 * To be in force before route_localnet is set on an interface of a container, and as long as it is:
 * what the container sends to 127/8 is dropped here. */
char *nft_rules_make(const struct nft_rules *rules);
/* The same where a table of nft_rules_make is in force, else nft fails: no connection comes in
 * between. When the whole table is replaced, a packet that is just being looked at may find neither
 * what is published by the old one nor the new. */
char *nft_rules_update(const struct nft_rules *rules);
