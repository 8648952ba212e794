#include "tasks/kernel/rtnl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/netlink.h"
#include "tasks/kernel/netns.h"

/* Of IFLA_BRPORT_MODE, by net/bridge/br_netlink.c; no header has it. */
#define BRIDGE_MODE_HAIRPIN 1

struct rtnl {
    struct netlink netlink;
};

/* --- requests -------------------------------------------------------------------------------- */

static struct nlmsghdr *begin(struct rtnl *rtnl, uint16_t type, uint16_t flags)
{
    return netlink_begin(&rtnl->netlink, type, flags);
}

/* -EINTR: what is listed changed meanwhile, and the list may lack something. `family` is the first
 * byte of every such request. */
static int dump(struct rtnl *rtnl, uint16_t type, int family, mnl_cb_t on_message, void *data)
{
    struct nlmsghdr *head = begin(rtnl, type, NLM_F_DUMP);
    struct rtgenmsg *request = mnl_nlmsg_put_extra_header(head, sizeof(*request));

    request->rtgen_family = (uint8_t)family;
    return netlink_ask(&rtnl->netlink, head, on_message, data);
}

static int change(struct rtnl *rtnl, struct nlmsghdr *head)
{
    head->nlmsg_flags |= NLM_F_ACK;
    return netlink_ask(&rtnl->netlink, head, NULL, NULL);
}

/* --- links ----------------------------------------------------------------------------------- */

static int on_info(const struct nlattr *attribute, void *data)
{
    struct rtnl_link *link = data;

    if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND) {
        link->is_bridge = strcmp(mnl_attr_get_str(attribute), "bridge") == 0;
        link->is_veth = strcmp(mnl_attr_get_str(attribute), "veth") == 0;
    }
    return MNL_CB_OK;
}

static int on_link_attribute(const struct nlattr *attribute, void *data)
{
    struct rtnl_link *link = data;

    switch (mnl_attr_get_type(attribute)) {
    case IFLA_IFNAME:
        (void)stpncpy(link->name, mnl_attr_get_str(attribute), sizeof(link->name) - 1);
        break;
    case IFLA_LINK:
        link->peer_index = mnl_attr_get_u32(attribute);
        break;
    case IFLA_MASTER:
        link->master_index = mnl_attr_get_u32(attribute);
        break;
    case IFLA_LINKINFO:
        return mnl_attr_parse_nested(attribute, on_info, link);
    default:
        break;
    }
    return MNL_CB_OK;
}

static void read_link(const struct nlmsghdr *head, struct rtnl_link *link)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(head);

    *link = (struct rtnl_link){
        .index = (unsigned)info->ifi_index,
        .is_up = (info->ifi_flags & IFF_UP) != 0,
    };
    (void)mnl_attr_parse(head, sizeof(*info), on_link_attribute, link);
}

struct search {
    const char *name; /* NULL: by index */
    unsigned index, bridge;
    size_t n_ports;
    struct rtnl_link found;
};

static bool is_wanted(const struct search *search, const struct rtnl_link *link)
{
    if (search->name == NULL)
        return link->index == search->index;
    size_t n = strcspn(search->name, "*");
    return search->name[n] == '*' ? strncmp(link->name, search->name, n) == 0
                                  : strcmp(link->name, search->name) == 0;
}

static int on_link(const struct nlmsghdr *head, void *data)
{
    struct search *search = data;
    struct rtnl_link link;

    read_link(head, &link);
    if (search->found.index == 0 && is_wanted(search, &link))
        search->found = link;
    if (search->bridge != 0 && link.master_index == search->bridge)
        search->n_ports++;
    return MNL_CB_OK;
}

static int dump_links(struct rtnl *rtnl, struct search *search)
{
    int r;

    do {
        search->found = (struct rtnl_link){};
        search->n_ports = 0;
        r = dump(rtnl, RTM_GETLINK, AF_UNSPEC, on_link, search);
    } while (r == -EINTR);
    return r;
}

static int search_link(struct rtnl *rtnl, struct search *search, struct rtnl_link *ret)
{
    int r = dump_links(rtnl, search);

    if (r < 0)
        return r;
    if (search->found.index == 0)
        return -ENODEV;
    *ret = search->found;
    return 0;
}

int rtnl_find_link(struct rtnl *rtnl, const char *name, struct rtnl_link *ret)
{
    return search_link(rtnl, &(struct search){ .name = name }, ret);
}

int rtnl_find_index(struct rtnl *rtnl, unsigned index, struct rtnl_link *ret)
{
    return search_link(rtnl, &(struct search){ .index = index }, ret);
}

int rtnl_count_ports(struct rtnl *rtnl, unsigned bridge, size_t *ret_n)
{
    struct search search = { .bridge = bridge };
    int r = dump_links(rtnl, &search);

    *ret_n = search.n_ports;
    return r;
}

int rtnl_set_up(struct rtnl *rtnl, unsigned index)
{
    struct nlmsghdr *head = begin(rtnl, RTM_NEWLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(head, sizeof(*info));

    info->ifi_index = (int)index;
    info->ifi_flags = info->ifi_change = IFF_UP;
    return change(rtnl, head);
}

int rtnl_set_hairpin(struct rtnl *rtnl, unsigned index)
{
    struct nlmsghdr *head = begin(rtnl, RTM_SETLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(head, sizeof(*info));

    info->ifi_family = AF_BRIDGE;
    info->ifi_index = (int)index;
    struct nlattr *port = mnl_attr_nest_start(head, IFLA_PROTINFO);
    mnl_attr_put_u8(head, IFLA_BRPORT_MODE, BRIDGE_MODE_HAIRPIN);
    mnl_attr_nest_end(head, port);
    return change(rtnl, head);
}

int rtnl_delete_link(struct rtnl *rtnl, unsigned index)
{
    struct nlmsghdr *head = begin(rtnl, RTM_DELLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(head, sizeof(*info));

    info->ifi_index = (int)index;
    return change(rtnl, head);
}

/* --- addresses ------------------------------------------------------------------------------- */

static size_t address_bytes(const struct address *address)
{
    return address_bits(address) / 8;
}

static int change_address(struct rtnl *rtnl, uint16_t type, uint16_t flags, unsigned index,
                          const struct address *address)
{
    struct nlmsghdr *head = begin(rtnl, type, flags);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(head, sizeof(*info));

    info->ifa_family = (uint8_t)address->family;
    info->ifa_prefixlen = (uint8_t)address->prefix;
    info->ifa_index = index;
    info->ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
    mnl_attr_put(head, IFA_LOCAL, address_bytes(address), address->bytes);
    mnl_attr_put(head, IFA_ADDRESS, address_bytes(address), address->bytes);
    return change(rtnl, head);
}

int rtnl_add_address(struct rtnl *rtnl, unsigned index, const struct address *address)
{
    int r = change_address(rtnl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address);

    return r == -EEXIST ? 0 : r;
}

int rtnl_delete_address(struct rtnl *rtnl, unsigned index, const struct address *address)
{
    int r = change_address(rtnl, RTM_DELADDR, 0, index, address);

    return r == -EADDRNOTAVAIL ? 0 : r;
}

struct list {
    struct rtnl_address *items;
    size_t n_items;
};

/* Of a point-to-point link, IFA_ADDRESS is the other end's. */
static int on_address_attribute(const struct nlattr *attribute, void *data)
{
    const struct nlattr **found = data;
    uint16_t type = mnl_attr_get_type(attribute);

    if (type == IFA_LOCAL || (type == IFA_ADDRESS && *found == NULL))
        *found = attribute;
    return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *head, void *data)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(head);
    const struct nlattr *found = NULL;
    struct list *list = data;

    (void)mnl_attr_parse(head, sizeof(*info), on_address_attribute, &found);
    bool is_known = info->ifa_family == AF_INET || info->ifa_family == AF_INET6;
    if (found == NULL || !is_known || info->ifa_scope >= RT_SCOPE_LINK)
        return MNL_CB_OK;
    if (mnl_attr_get_payload_len(found) != (info->ifa_family == AF_INET ? 4 : 16) ||
        info->ifa_prefixlen > mnl_attr_get_payload_len(found) * 8)
        return MNL_CB_OK;
    list->items = alloc_grow(list->items, list->n_items + 1, sizeof(*list->items));
    list->items[list->n_items++] = (struct rtnl_address){
        .index = info->ifa_index,
        .address = address_from_bytes(info->ifa_family, mnl_attr_get_payload(found),
                                      info->ifa_prefixlen),
    };
    return MNL_CB_OK;
}

int rtnl_list_addresses(struct rtnl *rtnl, struct rtnl_address **ret, size_t *ret_n)
{
    struct list list = {};
    int r;

    do {
        list.n_items = 0;
        r = dump(rtnl, RTM_GETADDR, AF_UNSPEC, on_address, &list);
    } while (r == -EINTR);
    if (r < 0) {
        free(list.items);
        return r;
    }
    *ret = list.items;
    *ret_n = list.n_items;
    return 0;
}

/* --- routes ---------------------------------------------------------------------------------- */

static struct rtmsg *begin_route(struct rtnl *rtnl, int family, struct nlmsghdr **ret_head)
{
    *ret_head = begin(rtnl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(*ret_head, sizeof(*route));

    route->rtm_family = (uint8_t)family;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_type = RTN_UNICAST;
    return route;
}

int rtnl_add_gateway(struct rtnl *rtnl, unsigned index, const struct address *gateway)
{
    struct nlmsghdr *head;
    struct rtmsg *route = begin_route(rtnl, gateway->family, &head);

    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_flags = RTNH_F_ONLINK;
    mnl_attr_put(head, RTA_GATEWAY, address_bytes(gateway), gateway->bytes);
    mnl_attr_put_u32(head, RTA_OIF, index);
    return change(rtnl, head);
}

int rtnl_add_route(struct rtnl *rtnl, unsigned index, const struct address *network)
{
    struct address first = address_network(network);
    struct nlmsghdr *head;
    struct rtmsg *route = begin_route(rtnl, network->family, &head);

    route->rtm_scope = RT_SCOPE_LINK;
    route->rtm_dst_len = (uint8_t)network->prefix;
    mnl_attr_put(head, RTA_DST, address_bytes(&first), first.bytes);
    mnl_attr_put_u32(head, RTA_OIF, index);
    return change(rtnl, head);
}

struct indexes {
    unsigned *items;
    size_t n_items;
};

static int on_route_attribute(const struct nlattr *attribute, void *data)
{
    if (mnl_attr_get_type(attribute) == RTA_OIF)
        *(unsigned *)data = mnl_attr_get_u32(attribute);
    return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *head, void *data)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(head);
    struct indexes *list = data;
    unsigned index = 0;

    if (route->rtm_dst_len != 0 || route->rtm_protocol != RTPROT_RA ||
        route->rtm_type != RTN_UNICAST)
        return MNL_CB_OK;
    (void)mnl_attr_parse(head, sizeof(*route), on_route_attribute, &index);
    list->items = alloc_grow(list->items, list->n_items + 1, sizeof(*list->items));
    list->items[list->n_items++] = index;
    return MNL_CB_OK;
}

int rtnl_list_advertised(struct rtnl *rtnl, unsigned **ret, size_t *ret_n)
{
    struct indexes list = {};
    int r;

    do {
        list.n_items = 0;
        r = dump(rtnl, RTM_GETROUTE, AF_INET6, on_route, &list);
    } while (r == -EINTR);
    if (r < 0) {
        free(list.items);
        return r;
    }
    *ret = list.items;
    *ret_n = list.n_items;
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static int open_socket(void *data)
{
    struct rtnl *rtnl = data;

    return netlink_open(&rtnl->netlink, NETLINK_ROUTE);
}

struct rtnl *rtnl_open(int netns_fd, int *ret_error)
{
    struct rtnl *rtnl = ALLOC_NEW(struct rtnl);
    int r = netns_fd >= 0 ? netns_run(netns_fd, open_socket, rtnl) : open_socket(rtnl);

    if (r < 0) {
        *ret_error = r;
        return rtnl_close(rtnl);
    }
    return rtnl;
}

struct rtnl *rtnl_close(struct rtnl *rtnl)
{
    if (rtnl == NULL)
        return NULL;
    netlink_close(&rtnl->netlink);
    free(rtnl);
    return NULL;
}
