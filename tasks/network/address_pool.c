#include "tasks/network/address_pool.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "reactor/cleanup.h"

/* Networks as numbers: `first` to `last`. */
struct range {
    uint32_t first, last;
};

static uint32_t number_of(const struct address *address)
{
    uint32_t value;

    assert(address->family == AF_INET);
    memcpy(&value, address->bytes, sizeof(value));
    return ntohl(value);
}

static struct address address_of(uint32_t number, unsigned prefix)
{
    uint32_t value = htonl(number);

    return address_from_bytes(AF_INET, &value, prefix);
}

static struct range range_of(const struct address *network)
{
    uint32_t mask = network->prefix == 0 ? 0 : UINT32_MAX << (32 - network->prefix);
    uint32_t first = number_of(network) & mask;

    return (struct range){ first, first | ~mask };
}

static bool is_shared(const struct address_lease *lease, const char *network)
{
    return lease->network != NULL && network != NULL && strcmp(lease->network, network) == 0;
}

static int fail_full(const struct address *pool, const char *network, struct fail *reterr)
{
    CLEANUP_FREE char *text = address_cidr(pool);

    if (network != NULL)
        return fail_set_recoverable(reterr, -ENOSPC,
                                    "no address is free for '%s': all of its %d are taken; stop "
                                    "other containers of it, or use another one",
                                    network, (1 << (32 - ADDRESS_POOL_SHARE_BITS)) - 3);
    return fail_set_recoverable(reterr, -ENOSPC,
                                "no address is free in the agent's network_pool %s; stop other "
                                "containers, or give the plugin a larger pool",
                                text);
}

/* In the block that the zone or bridge has. */
static int take_shared(const struct address *pool, const struct address_lease *leases, size_t n,
                       const struct address *block, const char *network, struct address *ret,
                       struct fail *reterr)
{
    struct range range = range_of(block);

    for (uint32_t number = range.first + 2; number < range.last; number++) {
        bool is_taken = false;
        for (size_t i = 0; i < n && !is_taken; i++)
            is_taken = address_is_set(&leases[i].address) &&
                       number_of(&leases[i].address) == number;
        if (!is_taken) {
            *ret = address_of(number, block->prefix);
            return 0;
        }
    }
    return fail_full(pool, network, reterr);
}

/* Else *ret_last is the end of what is in the way. */
static bool is_free(const struct address_lease *leases, size_t n, struct range range,
                    uint32_t *ret_last)
{
    for (size_t i = 0; i < n; i++) {
        if (!address_is_set(&leases[i].address))
            continue;
        struct range taken = range_of(&leases[i].address);
        if (taken.first <= range.last && range.first <= taken.last) {
            *ret_last = taken.last;
            return false;
        }
    }
    return true;
}

static int take_block(const struct address *pool, const struct address_lease *leases, size_t n,
                      unsigned prefix, struct address *ret)
{
    struct range all = range_of(pool);
    uint32_t size = UINT32_C(1) << (32 - prefix), last;

    for (uint64_t first = all.first; first + size - 1 <= all.last;
         first = ((uint64_t)last + size) / size * size) {
        struct range range = { (uint32_t)first, (uint32_t)first + size - 1 };
        if (is_free(leases, n, range, &last)) {
            *ret = address_of(range.first + 2, prefix);
            return 0;
        }
    }
    return -ENOSPC;
}

int address_pool_take(const struct address *pool, const struct address_lease *leases, size_t n,
                      const char *network, struct address *ret, struct fail *reterr)
{
    unsigned prefix = network != NULL ? ADDRESS_POOL_SHARE_BITS : ADDRESS_POOL_LINK_BITS;

    assert(pool->family == AF_INET && pool->prefix <= ADDRESS_POOL_SHARE_BITS);
    for (size_t i = 0; i < n; i++)
        if (is_shared(&leases[i], network) && address_is_set(&leases[i].address))
            return take_shared(pool, leases, n, &leases[i].address, network, ret, reterr);
    return take_block(pool, leases, n, prefix, ret) < 0 ? fail_full(pool, NULL, reterr) : 0;
}

struct address address_pool_gateway(const struct address *address)
{
    return address_of(range_of(address).first + 1, address->prefix);
}

struct address address_pool_address6(const struct address *pool6, const struct address *address)
{
    struct address six = address_network(pool6);

    assert(address->family == AF_INET && pool6->family == AF_INET6 && pool6->prefix <= 96);
    memcpy(six.bytes + 12, address->bytes, 4);
    six.prefix = 96 + address->prefix;
    return six;
}
