#include "tasks/kernel/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

static unsigned family_bits(int family)
{
    return family == AF_INET ? 32 : 128;
}

unsigned address_bits(const struct address *address)
{
    assert(address_is_set(address));
    return family_bits(address->family);
}

static int parse_prefix(const char *text, unsigned max, unsigned *ret)
{
    size_t n = strlen(text);

    if (n == 0 || n > 3 || strspn(text, "0123456789") != n || (n > 1 && text[0] == '0'))
        return -EINVAL;
    unsigned long value = strtoul(text, NULL, 10);
    if (value > max)
        return -EINVAL;
    *ret = (unsigned)value;
    return 0;
}

int address_parse(const char *text, struct address *ret)
{
    struct address address = { .family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET };
    const char *slash = strchrnul(text, '/');
    CLEANUP_FREE char *host = alloc_strndup(text, (size_t)(slash - text));

    if (inet_pton(address.family, host, address.bytes) != 1)
        return -EINVAL;
    address.prefix = family_bits(address.family);
    if (*slash == '/' && parse_prefix(slash + 1, address.prefix, &address.prefix) < 0)
        return -EINVAL;
    *ret = address;
    return 0;
}

struct address address_from_bytes(int family, const void *bytes, unsigned prefix)
{
    struct address address = { .family = family, .prefix = prefix };

    assert(family == AF_INET || family == AF_INET6);
    assert(prefix <= family_bits(family));
    memcpy(address.bytes, bytes, family_bits(family) / 8);
    return address;
}

char *address_text(const struct address *address)
{
    char text[INET6_ADDRSTRLEN];

    assert(address_is_set(address));
    const char *r = inet_ntop(address->family, address->bytes, text, sizeof(text));
    assert(r != NULL);
    return alloc_strdup(r);
}

char *address_cidr(const struct address *address)
{
    CLEANUP_FREE char *text = address_text(address);

    return alloc_printf("%s/%u", text, address->prefix);
}

static bool starts_alike(const struct address *a, const struct address *b, unsigned n_bits)
{
    unsigned n = n_bits / 8, rest = n_bits % 8;

    if (a->family != b->family || memcmp(a->bytes, b->bytes, n) != 0)
        return false;
    return rest == 0 || (a->bytes[n] ^ b->bytes[n]) >> (8 - rest) == 0;
}

bool address_is_same(const struct address *a, const struct address *b)
{
    return starts_alike(a, b, family_bits(a->family));
}

bool address_is_in(const struct address *address, const struct address *network)
{
    return address_is_set(address) && starts_alike(address, network, network->prefix);
}

static bool is_in_any(const struct address *address, const char *network4, const char *network6)
{
    struct address network;

    int r = address_parse(address->family == AF_INET ? network4 : network6, &network);
    assert(r >= 0);
    return address_is_in(address, &network);
}

struct address address_network(const struct address *address)
{
    struct address network = *address;

    assert(address_is_set(address));
    for (unsigned bit = network.prefix; bit < address_bits(address); bit++)
        network.bytes[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
    return network;
}

bool address_is_loopback(const struct address *address)
{
    return is_in_any(address, "127.0.0.0/8", "::1/128");
}

bool address_is_unspecified(const struct address *address)
{
    return is_in_any(address, "0.0.0.0/32", "::/128");
}

bool address_is_link_local(const struct address *address)
{
    return is_in_any(address, "169.254.0.0/16", "fe80::/10");
}
