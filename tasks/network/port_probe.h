/* Whether a port of the host is free. */
#pragma once

#include <stdint.h>

#include "tasks/kernel/address.h"

/* Tries to bind it, tcp and udp, at the address (none: at all of the host's, IPv4 and IPv6), and
 * lets go at once. 0: free. -EADDRINUSE: a program of the host has it, and *ret_protocol says of
 * which ("tcp"). An address that the host has not got is free. */
int port_probe(const struct address *host, uint16_t port, const char **ret_protocol);
