/* Addresses for containers out of one network. A link of its own gets a block of four addresses, a
 * zone or bridge one of 256, which its containers share; the first address of a block is the
 * host's. IPv6 follows IPv4: an address is that of the IPv6 pool with the IPv4 address as its last
 * 32 bits, so that what is free is decided once. Pure: who holds what is the caller's to remember.
 */
#pragma once

#include <stddef.h>

#include "reactor/fail.h"
#include "tasks/kernel/address.h"

#define ADDRESS_POOL_IPV6_BITS  96 /* of a pool of IPv6 at most */
#define ADDRESS_POOL_LINK_BITS  30
#define ADDRESS_POOL_SHARE_BITS 24

/* What one container holds, with the block's prefix; zero-filled holds nothing. */
struct address_lease {
    const char *network; /* name of the zone or bridge; NULL: a link of its own */
    struct address address;
};

/* `leases`: all that are held now, of this pool or of others before it. The answer is different
 * from each of them, and in the block of those with the same `network`. -ENOSPC: none is free. */
int address_pool_take(const struct address *pool, const struct address_lease *leases, size_t n,
                      const char *network, struct address *ret, struct fail *reterr);

/* The host's address in the block of an address. */
struct address address_pool_gateway(const struct address *address);
/* The IPv6 address that goes with an IPv4 address, its prefix too. */
struct address address_pool_address6(const struct address *pool6, const struct address *address);
