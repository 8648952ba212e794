#include "tasks/kernel/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/netlink.h"
#include "tasks/kernel/rtnl.h"

/* Of CTA_FILTER_ORIG_FLAGS; no header of the kernel's for programs has it. */
#define FILTER_BY_PROTOCOL (UINT32_C(1) << 3)

/* Deletes on a socket of its own, while the other lists: nothing has to be kept. */
struct conntrack {
    struct netlink listing, deleting;
    struct rtnl_address *host;
    size_t n_host;
    const struct conntrack_ports *ports;
    const struct conntrack_target *targets;
    size_t n_targets;
    int error; /* the first */
};

/* --- what is listed -------------------------------------------------------------------------- */

struct tuple {
    struct address source, destination;
    uint8_t protocol;
    uint16_t source_port, destination_port;
};

/* As the kernel has it, to name it by. */
struct flow {
    int family;
    const struct nlattr *original, *id, *zone; /* may be NULL */
    struct tuple from_client, from_server;
};

static void read_address(const struct nlattr *attribute, int family, struct address *ret)
{
    size_t n = mnl_attr_get_payload_len(attribute);

    if (n == (family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr)))
        *ret = address_from_bytes(family, mnl_attr_get_payload(attribute), (unsigned)n * 8);
}

static int on_address(const struct nlattr *attribute, void *data)
{
    struct tuple *tuple = data;

    switch (mnl_attr_get_type(attribute)) {
    case CTA_IP_V4_SRC:
        read_address(attribute, AF_INET, &tuple->source);
        break;
    case CTA_IP_V4_DST:
        read_address(attribute, AF_INET, &tuple->destination);
        break;
    case CTA_IP_V6_SRC:
        read_address(attribute, AF_INET6, &tuple->source);
        break;
    case CTA_IP_V6_DST:
        read_address(attribute, AF_INET6, &tuple->destination);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static int on_protocol(const struct nlattr *attribute, void *data)
{
    size_t n = mnl_attr_get_payload_len(attribute);
    struct tuple *tuple = data;

    switch (mnl_attr_get_type(attribute)) {
    case CTA_PROTO_NUM:
        if (n == sizeof(uint8_t))
            tuple->protocol = mnl_attr_get_u8(attribute);
        break;
    case CTA_PROTO_SRC_PORT:
        if (n == sizeof(uint16_t))
            tuple->source_port = ntohs(mnl_attr_get_u16(attribute));
        break;
    case CTA_PROTO_DST_PORT:
        if (n == sizeof(uint16_t))
            tuple->destination_port = ntohs(mnl_attr_get_u16(attribute));
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static int on_tuple(const struct nlattr *attribute, void *data)
{
    switch (mnl_attr_get_type(attribute)) {
    case CTA_TUPLE_IP:
        return mnl_attr_parse_nested(attribute, on_address, data);
    case CTA_TUPLE_PROTO:
        return mnl_attr_parse_nested(attribute, on_protocol, data);
    default:
        return MNL_CB_OK;
    }
}

static int on_flow_attribute(const struct nlattr *attribute, void *data)
{
    struct flow *flow = data;

    switch (mnl_attr_get_type(attribute)) {
    case CTA_TUPLE_ORIG:
        flow->original = attribute;
        return mnl_attr_parse_nested(attribute, on_tuple, &flow->from_client);
    case CTA_TUPLE_REPLY:
        return mnl_attr_parse_nested(attribute, on_tuple, &flow->from_server);
    case CTA_ID:
        flow->id = attribute;
        break;
    case CTA_ZONE:
        flow->zone = attribute;
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

/* --- what is wrong --------------------------------------------------------------------------- */

/* ::1 is never published by the packet filter. */
static bool is_host(const struct conntrack *conntrack, const struct address *address)
{
    if (address->family == AF_INET && address_is_loopback(address))
        return true;
    for (size_t i = 0; i < conntrack->n_host; i++)
        if (address_is_same(&conntrack->host[i].address, address))
            return true;
    return false;
}

static bool is_target(const struct conntrack *conntrack, const struct tuple *from_client,
                      const struct tuple *from_server)
{
    for (size_t i = 0; i < conntrack->n_targets; i++) {
        const struct conntrack_target *target = &conntrack->targets[i];
        if (target->host_port == from_client->destination_port &&
            target->port == from_server->source_port &&
            address_is_same(&target->to, &from_server->source))
            return true;
    }
    return false;
}

static bool is_wrong(const struct conntrack *conntrack, const struct flow *flow)
{
    const struct tuple *from_client = &flow->from_client;

    return flow->original != NULL && from_client->protocol == IPPROTO_UDP &&
           conntrack_ports_has(conntrack->ports, from_client->destination_port) &&
           is_host(conntrack, &from_client->destination) &&
           !is_target(conntrack, from_client, &flow->from_server);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct nlmsghdr *begin(struct netlink *netlink, uint16_t type, uint16_t flags, int family)
{
    struct nlmsghdr *head = netlink_begin(netlink, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type),
                                          flags);
    struct nfgenmsg *info = mnl_nlmsg_put_extra_header(head, sizeof(*info));

    info->nfgen_family = (uint8_t)family;
    info->version = NFNETLINK_V0;
    return head;
}

static void put_again(struct nlmsghdr *head, const struct nlattr *attribute)
{
    if (attribute != NULL)
        mnl_attr_put(head, attribute->nla_type, mnl_attr_get_payload_len(attribute),
                     mnl_attr_get_payload(attribute));
}

/* Without the original direction it would be all that the kernel has. With the id it is none that
 * has come meanwhile. */
static int delete_flow(struct conntrack *conntrack, const struct flow *flow)
{
    struct nlmsghdr *head = begin(&conntrack->deleting, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                                  flow->family);

    put_again(head, flow->original);
    put_again(head, flow->zone);
    put_again(head, flow->id);
    int r = netlink_ask(&conntrack->deleting, head, NULL, NULL);
    return r == -ENOENT ? 0 : r;
}

static int on_flow(const struct nlmsghdr *head, void *data)
{
    const struct nfgenmsg *info = mnl_nlmsg_get_payload(head);
    struct flow flow = { .family = info->nfgen_family };
    struct conntrack *conntrack = data;

    (void)mnl_attr_parse(head, sizeof(*info), on_flow_attribute, &flow);
    int r = is_wrong(conntrack, &flow) ? delete_flow(conntrack, &flow) : 0;
    if (r < 0 && conntrack->error == 0)
        conntrack->error = r;
    return MNL_CB_OK;
}

/* A host may have a great many connections of tcp. A kernel before Linux 5.8 does not know the
 * filter and lists them too. */
static void put_filter(struct nlmsghdr *head)
{
    struct nlattr *tuple = mnl_attr_nest_start(head, CTA_TUPLE_ORIG);
    struct nlattr *protocol = mnl_attr_nest_start(head, CTA_TUPLE_PROTO);

    mnl_attr_put_u8(head, CTA_PROTO_NUM, IPPROTO_UDP);
    mnl_attr_nest_end(head, protocol);
    mnl_attr_nest_end(head, tuple);
    struct nlattr *filter = mnl_attr_nest_start(head, CTA_FILTER);
    mnl_attr_put_u32(head, CTA_FILTER_ORIG_FLAGS, FILTER_BY_PROTOCOL);
    mnl_attr_put_u32(head, CTA_FILTER_REPLY_FLAGS, 0);
    mnl_attr_nest_end(head, filter);
}

/* -EINVAL: the kernel has no such module, or can't load it; so there is nothing. */
static int forget(struct conntrack *conntrack, int family)
{
    int r;

    do {
        struct nlmsghdr *head = begin(&conntrack->listing, IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
        put_filter(head);
        r = netlink_ask(&conntrack->listing, head, on_flow, conntrack);
    } while (r == -EINTR);
    return r == -EINVAL ? 0 : r;
}

static int read_host(struct conntrack *conntrack)
{
    int r = 0;
    CLEANUP(rtnl_closep) struct rtnl *rtnl = rtnl_open(-EBADF, &r);

    return rtnl != NULL ? rtnl_list_addresses(rtnl, &conntrack->host, &conntrack->n_host) : r;
}

static int open_sockets(struct conntrack *conntrack)
{
    int r = netlink_open(&conntrack->listing, NETLINK_NETFILTER);

    return r < 0 ? r : netlink_open(&conntrack->deleting, NETLINK_NETFILTER);
}

static struct conntrack *conntrack_free(struct conntrack *conntrack)
{
    netlink_close(&conntrack->listing);
    netlink_close(&conntrack->deleting);
    free(conntrack->host);
    free(conntrack);
    return NULL;
}

int conntrack_forget_udp(const struct conntrack_ports *ports,
                         const struct conntrack_target *targets, size_t n_targets)
{
    static const int families[] = { AF_INET, AF_INET6 };
    struct conntrack *conntrack = ALLOC_NEW(struct conntrack);

    conntrack->ports = ports;
    conntrack->targets = targets;
    conntrack->n_targets = n_targets;
    int r = open_sockets(conntrack);
    if (r >= 0)
        r = read_host(conntrack);
    for (size_t i = 0; r >= 0 && i < 2; i++)
        r = forget(conntrack, families[i]);
    if (r == -EPROTONOSUPPORT) /* a kernel without netfilter */
        r = 0;
    if (r >= 0)
        r = conntrack->error;
    (void)conntrack_free(conntrack);
    return r;
}
