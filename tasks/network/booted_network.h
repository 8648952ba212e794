/* The systemd-networkd of a booted system, and addresses that were set from outside: by default it
 * would ask for others by DHCP for ever, and what waits for the network would not start. */
#pragma once

#include <sys/types.h>

/* Tells it, before it starts, to take the interface as it is: by a file in its /run, written as the
 * container's root, and only where no link leads elsewhere, since what is inside belongs to whoever
 * made the image. `leader`: the container's PID 1. Negative errno; -EEXIST: the file is there. */
int booted_network_keep(pid_t leader, const char *interface);
