#include "tests/support/tasks/network/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/private_run.h"

/* Everything is on this machine: what takes longer has got lost. */
#define LOST_SEC 5

#define N_SERVERS_MAX 16

bool network_enter(void)
{
    return private_run_enter() && unshare(CLONE_NEWNET) == 0;
}

void network_run(const char *script)
{
    CLEANUP_FREE char *whole = alloc_printf("export PATH=$PATH:/usr/sbin:/sbin\nset -eu\n%s",
                                            script);

    if (system(whole) != 0)
        fail_msg("the network could not be made");
}

int network_socket(const char *where, int family, int type)
{
    CLEANUP_FREE char *path = alloc_printf("/run/netns/%s", where);
    CLEANUP_CLOSE int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CLEANUP_CLOSE int there = *where != '\0' ? open(path, O_RDONLY | O_CLOEXEC) : -EBADF;
    const struct timeval lost = { .tv_sec = LOST_SEC };

    if (*where != '\0')
        assert_int_equal(setns(there, CLONE_NEWNET), 0);
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (*where != '\0')
        assert_int_equal(setns(here, CLONE_NEWNET), 0);
    assert_return_code(fd, errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &lost, sizeof(lost));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &lost, sizeof(lost));
    return fd;
}

static socklen_t fill(struct sockaddr_storage *storage, const char *address, uint16_t port)
{
    struct sockaddr_in *four = (struct sockaddr_in *)storage;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)storage;

    *storage = (struct sockaddr_storage){};
    if (strchr(address, ':') == NULL) {
        *four = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        assert_int_equal(inet_pton(AF_INET, address, &four->sin_addr), 1);
        return sizeof(*four);
    }
    *six = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
    assert_int_equal(inet_pton(AF_INET6, address, &six->sin6_addr), 1);
    return sizeof(*six);
}

/* --- servers --------------------------------------------------------------------------------- */

static int serve(const struct network_server *server, int type)
{
    struct sockaddr_storage storage;
    socklen_t n = fill(&storage, server->address, server->port);
    int fd = network_socket(server->where, storage.ss_family, type), one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    assert_return_code(bind(fd, (struct sockaddr *)&storage, n), errno);
    if (type == SOCK_STREAM)
        assert_return_code(listen(fd, 16), errno);
    return fd;
}

void network_serve(struct network_server *servers, unsigned n_servers)
{
    for (unsigned i = 0; i < n_servers; i++) {
        servers[i].tcp_fd = serve(&servers[i], SOCK_STREAM);
        servers[i].udp_fd = serve(&servers[i], SOCK_DGRAM);
    }
}

void network_close(struct network_server *servers, unsigned n_servers)
{
    for (unsigned i = 0; i < n_servers; i++) {
        servers[i].tcp_fd = close_fd(servers[i].tcp_fd);
        servers[i].udp_fd = close_fd(servers[i].udp_fd);
    }
}

/* --- asking ---------------------------------------------------------------------------------- */

/* The one that has been asked; NULL: the client has got an error instead. */
static const struct network_server *await(int client, int type,
                                          const struct network_server *servers, unsigned n_servers)
{
    struct pollfd fds[N_SERVERS_MAX + 1] = {};

    assert_in_range(n_servers, 1, N_SERVERS_MAX);
    for (unsigned i = 0; i < n_servers; i++) {
        fds[i].fd = type == SOCK_STREAM ? servers[i].tcp_fd : servers[i].udp_fd;
        fds[i].events = POLLIN;
    }
    fds[n_servers].fd = client; /* errors are always told */
    if (poll(fds, n_servers + 1, LOST_SEC * 1000) <= 0)
        fail_msg("neither answered nor refused");
    for (unsigned i = 0; i < n_servers; i++)
        if (fds[i].revents != 0)
            return &servers[i];
    return NULL;
}

static void note_client(struct network_answer *answer, const struct sockaddr_storage *from)
{
    const void *bytes = &((const struct sockaddr_in *)from)->sin_addr;

    if (from->ss_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)from)->sin6_addr;
    assert_non_null(inet_ntop(from->ss_family, bytes, answer->client, sizeof(answer->client)));
}

static void answer_stream(struct network_answer *answer, int client)
{
    struct sockaddr_storage from;
    socklen_t n = sizeof(from);
    CLEANUP_CLOSE int fd = accept4(answer->server->tcp_fd, (struct sockaddr *)&from, &n,
                                   SOCK_CLOEXEC);
    char byte = 0;

    assert_return_code(fd, errno);
    assert_int_equal(send(fd, "a", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    assert_int_equal(byte, 'a');
    note_client(answer, &from);
}

/* The client is connected: what comes from another address is not received. */
static void answer_datagram(struct network_answer *answer, int client)
{
    struct sockaddr_storage from;
    socklen_t n = sizeof(from);
    char byte = 0;

    ssize_t r = recvfrom(answer->server->udp_fd, &byte, 1, 0, (struct sockaddr *)&from, &n);
    assert_int_equal(r, 1);
    r = sendto(answer->server->udp_fd, "a", 1, 0, (struct sockaddr *)&from, n);
    assert_int_equal(r, 1);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    assert_int_equal(byte, 'a');
    note_client(answer, &from);
}

int network_connect(const char *where, const char *address, uint16_t port, int type)
{
    struct sockaddr_storage storage;
    socklen_t n = fill(&storage, address, port);
    int client = network_socket(where, storage.ss_family, type);

    if (strncmp(address, "fe80:", 5) == 0)
        (void)setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, NETWORK_LINK, strlen(NETWORK_LINK));
    if (connect(client, (struct sockaddr *)&storage, n) >= 0)
        return client;
    if (errno != ECONNREFUSED)
        fail_msg("%s from '%s': %s", address, where, strerror(errno));
    return close_fd(client);
}

struct network_answer network_ask_by(int client, int type, const struct network_server *servers,
                                     unsigned n_servers)
{
    struct network_answer answer = {};

    if (type == SOCK_DGRAM)
        assert_int_equal(send(client, "q", 1, 0), 1);
    answer.server = await(client, type, servers, n_servers);
    if (answer.server != NULL && type == SOCK_STREAM)
        answer_stream(&answer, client);
    else if (answer.server != NULL)
        answer_datagram(&answer, client);
    return answer;
}

struct network_answer network_ask(const char *where, const char *address, uint16_t port, int type,
                                  const struct network_server *servers, unsigned n_servers)
{
    CLEANUP_CLOSE int client = network_connect(where, address, port, type);

    return client >= 0 ? network_ask_by(client, type, servers, n_servers)
                       : (struct network_answer){};
}
