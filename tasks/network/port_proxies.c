#include "tasks/network/port_proxies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/sysctl.h"

#define PROXY_PROGRAM "/usr/lib/systemd/systemd-socket-proxyd"

/* Long enough that a client which asks every second does not start it each time. */
#define PROXY_IDLE "--exit-idle-time=10s"

struct proxy {
    char *socket, *service; /* units */
    unsigned host_port;
    struct strv listen, argv;
};

enum action { ACTION_STOP_SOCKET, ACTION_STOP_SERVICE, ACTION_START, ACTION_MAX };

struct port_proxies {
    struct units *units;
    char *slice;
    struct proxy *items;
    size_t n_items, index;
    bool again;
    enum action action;
    struct unit_op *op;
    struct fail fail;
    port_proxies_done_fn done;
    void *data;
};

/* --- what ------------------------------------------------------------------------------------ */

/* "nspawn-<machine>-port<n>.socket" */
static char *unit_name(const char *machine, unsigned host_port, const char *type)
{
    return alloc_printf("nspawn-%s-port%u.%s", machine, host_port, type);
}

static bool has_ipv6_loopback(void)
{
    char text[8];

    return sysctl_read("net/ipv6/conf/lo/disable_ipv6", text, sizeof(text)) >= 0 &&
           strcmp(text, "0") == 0;
}

static char *target_of(const struct network_record *record, unsigned port)
{
    const struct address *address = &record->addresses[NETWORK_RECORD_IPV4];
    bool is_ipv4 = address_is_set(address);

    if (!is_ipv4)
        address = &record->addresses[NETWORK_RECORD_IPV6];
    CLEANUP_FREE char *text = address_text(address);
    return is_ipv4 ? alloc_printf("%s:%u", text, port) : alloc_printf("[%s]:%u", text, port);
}

static bool is_there(const struct port_proxies *proxies, unsigned host_port)
{
    for (size_t i = 0; i < proxies->n_items; i++)
        if (proxies->items[i].host_port == host_port)
            return true;
    return false;
}

static void add(struct port_proxies *proxies, const struct network_record *record,
                const struct network_port *port)
{
    struct proxy proxy = { .host_port = port->host_port };

    /* Of two addresses of the host: the loopback has only one such port. */
    if (is_there(proxies, port->host_port))
        return;
    if (has_ipv6_loopback())
        strv_printf(&proxy.listen, "[::1]:%u", port->host_port);
    if ((record->share != NULL && !record->is_zone) ||
        !address_is_set(&record->addresses[NETWORK_RECORD_IPV4]))
        strv_printf(&proxy.listen, "127.0.0.1:%u", port->host_port);
    if (proxy.listen.n_items == 0)
        return;
    proxy.socket = unit_name(record->machine, port->host_port, "socket");
    proxy.service = unit_name(record->machine, port->host_port, "service");
    strv_push(&proxy.argv, PROXY_PROGRAM);
    strv_push(&proxy.argv, PROXY_IDLE);
    strv_push_owned(&proxy.argv, target_of(record, port->port));
    proxies->items = alloc_grow(proxies->items, proxies->n_items + 1, sizeof(*proxies->items));
    proxies->items[proxies->n_items++] = proxy;
}

/* --- doing it -------------------------------------------------------------------------------- */

static void go_on(struct port_proxies *proxies);

static void end_op(struct port_proxies *proxies)
{
    CLEANUP_FAIL struct fail fail = {};
    port_proxies_done_fn done = proxies->done;
    void *data = proxies->data;

    fail_move(&fail, &proxies->fail);
    (void)port_proxies_free(proxies);
    done(fail.error < 0 ? &fail : NULL, data);
}

static void on_done(const struct fail *fail, void *data)
{
    struct port_proxies *proxies = data;
    const struct proxy *proxy = &proxies->items[proxies->index];

    proxies->op = NULL;
    if (fail != NULL && proxies->action == ACTION_START) {
        CLEANUP_FREE char *listen = strv_join(&proxy->listen, ", ");
        (void)fail_set(&proxies->fail, fail->error, "Port %u does not answer on %s: %s",
                       proxy->host_port, listen, fail_text(fail));
    }
    if (++proxies->action == ACTION_MAX) {
        proxies->index++;
        proxies->action = proxies->again ? ACTION_STOP_SOCKET : ACTION_START;
    }
    if (proxies->index < proxies->n_items)
        go_on(proxies);
    else
        end_op(proxies);
}

static void go_on(struct port_proxies *proxies)
{
    const struct proxy *proxy = &proxies->items[proxies->index];
    CLEANUP_FREE char *description =
            alloc_printf("Port %u of the host's loopback to %s", proxy->host_port,
                         proxy->argv.items[proxy->argv.n_items - 1]);
    struct unit_socket socket = {
        .name = proxy->socket,
        .description = description,
        .slice = proxies->slice,
        .listen = &proxy->listen,
        .argv = &proxy->argv,
    };

    if (proxies->action == ACTION_STOP_SOCKET)
        proxies->op = unit_stop(proxies->units, proxy->socket, on_done, proxies);
    else if (proxies->action == ACTION_STOP_SERVICE)
        proxies->op = unit_stop(proxies->units, proxy->service, on_done, proxies);
    else
        proxies->op = unit_start_socket(proxies->units, &socket, on_done, proxies);
}

struct port_proxies *port_proxies_start(struct units *units, const struct network_record *record,
                                        const char *slice, bool again, port_proxies_done_fn done,
                                        void *data)
{
    struct port_proxies *proxies = ALLOC_NEW(struct port_proxies);

    *proxies = (struct port_proxies){
        .units = units,
        .slice = alloc_strdup(slice),
        .again = again,
        .action = again ? ACTION_STOP_SOCKET : ACTION_START,
        .done = done,
        .data = data,
    };
    for (size_t i = 0; i < record->n_ports; i++)
        add(proxies, record, &record->ports[i]);
    if (proxies->n_items == 0)
        return port_proxies_free(proxies);
    go_on(proxies);
    return proxies;
}

struct port_proxies *port_proxies_free(struct port_proxies *proxies)
{
    if (proxies == NULL)
        return NULL;
    proxies->op = unit_op_free(proxies->op);
    for (size_t i = 0; i < proxies->n_items; i++) {
        free(proxies->items[i].socket);
        free(proxies->items[i].service);
        strv_done(&proxies->items[i].listen);
        strv_done(&proxies->items[i].argv);
    }
    free(proxies->items);
    free(proxies->slice);
    fail_done(&proxies->fail);
    free(proxies);
    return NULL;
}
