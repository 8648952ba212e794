/* Ports on those addresses of the host's loopback from which the kernel can't translate to a
 * container: [::1], as there is no route_localnet for IPv6; and 127.0.0.1 where the packets would
 * leave by a bridge that is not ours, or the container has no IPv4. systemd listens there, and
 * starts its systemd-socket-proxyd when somebody connects. Only tcp. The units are in the task's
 * slice and go with it. */
#pragma once

#include "tasks/network/network_record.h"
#include "tasks/systemd/unit.h"

struct port_proxies;


/* In the end all that could be done was. `fail`: the first of what could not, to be told. */
typedef void (*port_proxies_done_fn)(const struct fail *fail, void *data);
/* Listens for all ports of the record, one after the other; `again`: after whatever earlier proxies
 * of them there are, with another address, has been stopped. An op. NULL: nothing is to be done. */
struct port_proxies *port_proxies_start(struct units *units, const struct network_record *record,
                                        const char *slice, bool again, port_proxies_done_fn done,
                                        void *data);
struct port_proxies *port_proxies_free(struct port_proxies *proxies);
