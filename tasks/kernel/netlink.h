/* Requests to the kernel over netlink(7), by libmnl. It answers before the request's send returns,
 * so nothing here waits. In memory of the caller; zero-filled is closed. All results are negative
 * errno on failure. */
#pragma once

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's largest dump message is 32 KiB. */
#define NETLINK_BYTES ((size_t)32 * 1024)

struct netlink {
    struct mnl_socket *socket;
    uint32_t sequence;
    char buffer[NETLINK_BYTES]; /* the request, then the answer */
};

/* `protocol`: NETLINK_ROUTE, ... of the namespace that the thread is in. */
int netlink_open(struct netlink *netlink, int protocol);
void netlink_close(struct netlink *netlink);

/* A request in the buffer, to be filled and asked. */
struct nlmsghdr *netlink_begin(struct netlink *netlink, uint16_t type, uint16_t flags);
/* `on_message`, which may be NULL, gets what is answered. Of a dump, -EINTR: what is listed changed
 * meanwhile, and the list may lack something. */
int netlink_ask(struct netlink *netlink, const struct nlmsghdr *request, mnl_cb_t on_message,
                void *data);
