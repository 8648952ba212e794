#include "tasks/network/port_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "reactor/cleanup.h"

union name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t fill_name(int family, const struct address *host, uint16_t port, union name *name)
{
    *name = (union name){ .any.sa_family = (sa_family_t)family };
    if (family == AF_INET) {
        name->in.sin_port = htons(port);
        if (address_is_set(host))
            memcpy(&name->in.sin_addr, host->bytes, 4);
        return sizeof(name->in);
    }
    name->in6.sin6_port = htons(port);
    if (address_is_set(host))
        memcpy(&name->in6.sin6_addr, host->bytes, 16);
    return sizeof(name->in6);
}

/* Connections of an earlier server that linger do not keep a port from being bound with
 * SO_REUSEADDR, one that listens does. With udp it would bind what is bound. */
static int try(int family, int type, const struct address *host, uint16_t port)
{
    CLEANUP_CLOSE int fd = socket(family, type | SOCK_CLOEXEC, 0);
    union name name;
    socklen_t size = fill_name(family, host, port, &name);
    const int yes = 1;

    if (fd < 0)
        return 0; /* no IPv6 here */
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    return bind(fd, &name.any, size) < 0 && errno == EADDRINUSE ? -EADDRINUSE : 0;
}

int port_probe(const struct address *host, uint16_t port, const char **ret_protocol)
{
    static const int families[] = { AF_INET, AF_INET6 };
    static const struct {
        int type;
        const char *name;
    } protocols[] = { { SOCK_STREAM, "tcp" }, { SOCK_DGRAM, "udp" } };

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            if (address_is_set(host) && host->family != families[i])
                continue;
            if (try(families[i], protocols[j].type, host, port) < 0) {
                *ret_protocol = protocols[j].name;
                return -EADDRINUSE;
            }
        }
    return 0;
}
