/* An IPv4 or IPv6 address with the length of its network's prefix. A value; zero-filled is none. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    int family;        /* AF_INET, AF_INET6; AF_UNSPEC (0): none */
    unsigned prefix;   /* 0 to address_bits() */
    uint8_t bytes[16]; /* network order; of IPv4 the first four */
};

/* "192.0.2.7/24" or "2001:db8::7"; without a length the prefix is the whole address. -EINVAL. */
int address_parse(const char *text, struct address *ret);
struct address address_from_bytes(int family, const void *bytes, unsigned prefix);

static inline bool address_is_set(const struct address *address)
{
    return address->family != AF_UNSPEC;
}

/* Of the address, not of its network. */
unsigned address_bits(const struct address *address);
/* Heap; without and with "/24". The address is set. */
char *address_text(const struct address *address);
char *address_cidr(const struct address *address);
/* Whatever the prefixes are. */
bool address_is_same(const struct address *a, const struct address *b);
/* `network`'s prefix counts. False for another family. */
bool address_is_in(const struct address *address, const struct address *network);
bool address_is_loopback(const struct address *address);
bool address_is_unspecified(const struct address *address);
/* The network's own address: all after the prefix is zero. */
struct address address_network(const struct address *address);
/* Good only on one link: 169.254/16, fe80::/10. */
bool address_is_link_local(const struct address *address);
