/* What the kernel remembers of udp: where a client's packets go is decided by the first one, and
 * holds as long as they keep coming from one port of the client's. When a port of the host is
 * published, or not any more, or of another container, that has to be forgotten for it to be
 * decided anew. (tcp forgets by itself: each connection is decided on its own.) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/kernel/address.h"

/* Ports of the host; zero-filled is none. */
struct conntrack_ports {
    uint64_t bits[(UINT16_MAX + 1) / 64];
};

static inline void conntrack_ports_add(struct conntrack_ports *ports, uint16_t port)
{
    ports->bits[port / 64] |= UINT64_C(1) << port % 64;
}

static inline bool conntrack_ports_has(const struct conntrack_ports *ports, uint16_t port)
{
    return (ports->bits[port / 64] >> port % 64 & 1) != 0;
}

static inline bool conntrack_ports_are_none(const struct conntrack_ports *ports)
{
    for (size_t i = 0; i < sizeof(ports->bits) / sizeof(ports->bits[0]); i++)
        if (ports->bits[i] != 0)
            return false;
    return true;
}

/* Where a port of the host leads to now; one may have several, of both families. */
struct conntrack_target {
    uint16_t host_port, port;
    struct address to;
};

/* Forgets what is sent to `ports` of the host's addresses and gets to none of the port's targets.
 * What is right is left alone: also an answer finds its way by it. To be called when the rules are
 * in force; our own network namespace. Goes on after an error, and answers the first: negative
 * errno. Fine where nothing is remembered at all. */
int conntrack_forget_udp(const struct conntrack_ports *ports,
                         const struct conntrack_target *targets, size_t n_targets);
