#include "tasks/kernel/address_watch.h"

#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "reactor/alloc.h"
#include "tasks/kernel/netns.h"

struct address_watch {
    struct mnl_socket *socket;
    sd_event_source *source, *turn;
    address_changed_fn changed;
    void *data;
};

static int open_socket(void *data)
{
    struct address_watch *watch = data;

    watch->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (watch->socket == NULL)
        return -errno;
    return mnl_socket_bind(watch->socket, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
                           MNL_SOCKET_AUTOPID) < 0
                   ? -errno
                   : 0;
}

/* What exactly has changed is asked for afterwards; messages may have been lost (ENOBUFS). */
static int on_message(sd_event_source *source, int fd, uint32_t events, void *data)
{
    const struct address_watch *watch = data;
    char buffer[4096];

    (void)source;
    (void)events;
    while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
        ;
    watch->changed(watch->data);
    return 0;
}

static int on_turn(sd_event_source *source, void *data)
{
    struct address_watch *watch = data;

    (void)source;
    watch->turn = sd_event_source_disable_unref(watch->turn);
    watch->changed(watch->data);
    return 0;
}

struct address_watch *address_watch_new(sd_event *event, int netns_fd, address_changed_fn changed,
                                        void *data, int *ret_error)
{
    struct address_watch *watch = ALLOC_NEW(struct address_watch);

    watch->changed = changed;
    watch->data = data;
    int r = netns_fd >= 0 ? netns_run(netns_fd, open_socket, watch) : open_socket(watch);
    if (r < 0) {
        *ret_error = r;
        return address_watch_free(watch);
    }
    r = sd_event_add_io(event, &watch->source, mnl_socket_get_fd(watch->socket), EPOLLIN,
                        on_message, watch);
    assert(r >= 0);
    (void)sd_event_source_set_description(watch->source, "address-watch");
    r = sd_event_add_defer(event, &watch->turn, on_turn, watch);
    assert(r >= 0);
    (void)sd_event_source_set_description(watch->turn, "address-watch-turn");
    return watch;
}

struct address_watch *address_watch_free(struct address_watch *watch)
{
    if (watch == NULL)
        return NULL;
    watch->source = sd_event_source_disable_unref(watch->source);
    watch->turn = sd_event_source_disable_unref(watch->turn);
    if (watch->socket != NULL)
        (void)mnl_socket_close(watch->socket);
    free(watch);
    return NULL;
}
