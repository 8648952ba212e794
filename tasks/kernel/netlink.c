#include "tasks/kernel/netlink.h"

#include <errno.h>
#include <sys/socket.h>

int netlink_open(struct netlink *netlink, int protocol)
{
    netlink->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
    if (netlink->socket == NULL)
        return -errno;
    if (mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) >= 0)
        return 0;
    int r = -errno;
    netlink_close(netlink);
    return r;
}

void netlink_close(struct netlink *netlink)
{
    if (netlink->socket != NULL)
        (void)mnl_socket_close(netlink->socket);
    netlink->socket = NULL;
}

struct nlmsghdr *netlink_begin(struct netlink *netlink, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *head = mnl_nlmsg_put_header(netlink->buffer);

    head->nlmsg_type = type;
    head->nlmsg_flags = NLM_F_REQUEST | flags;
    head->nlmsg_seq = ++netlink->sequence;
    return head;
}

/* What is left of an answer would be taken for the next one's. */
static int drop_rest(struct netlink *netlink, int error)
{
    int fd = mnl_socket_get_fd(netlink->socket);

    while (recv(fd, netlink->buffer, sizeof(netlink->buffer), MSG_DONTWAIT) > 0)
        ;
    return error;
}

static int receive(struct netlink *netlink, mnl_cb_t on_message, void *data)
{
    unsigned port = mnl_socket_get_portid(netlink->socket);
    int r;

    do {
        ssize_t n = mnl_socket_recvfrom(netlink->socket, netlink->buffer, sizeof(netlink->buffer));
        if (n < 0)
            return -errno;
        r = mnl_cb_run(netlink->buffer, (size_t)n, netlink->sequence, port, on_message, data);
        if (r < MNL_CB_STOP)
            return drop_rest(netlink, -errno);
    } while (r > MNL_CB_STOP);
    return 0;
}

int netlink_ask(struct netlink *netlink, const struct nlmsghdr *request, mnl_cb_t on_message,
                void *data)
{
    if (mnl_socket_sendto(netlink->socket, request, request->nlmsg_len) < 0)
        return -errno;
    return receive(netlink, on_message, data);
}
