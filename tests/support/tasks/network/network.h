/* A network of the test's own, in namespaces: this process is the host in it; what is around is
 * made by a script with `ip`. Nothing of it is seen outside, and it ends with the process. Sockets
 * stay in the namespace they were made in, so that one process plays all. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* To be called once, before any test. False: it can't be had, as by users other than root. */
bool network_enter(void);
/* By sh, which ends at the first error; fails the running test then. */
void network_run(const char *script);
/* As socket(2), close-on-exec, in the namespace of `ip netns` with that name; "" is the host. */
int network_socket(const char *where, int family, int type);

/* By which a namespace's link-local addresses (fe80::) are asked. */
#define NETWORK_LINK "host0"

struct network_server {
    const char *where, *address; /* "::" and "0.0.0.0": all of that family */
    uint16_t port;
    int tcp_fd, udp_fd;
};

void network_serve(struct network_server *servers, unsigned n_servers);
void network_close(struct network_server *servers, unsigned n_servers);

struct network_answer {
    const struct network_server *server; /* NULL: refused */
    char client[INET6_ADDRSTRLEN];       /* as the server has seen it */
};

/* From a namespace to an address and port; SOCK_STREAM or SOCK_DGRAM. Fails the running test when
 * there is neither an answer nor a refusal, or when the answer is of somebody else. */
struct network_answer network_ask(const char *where, const char *address, uint16_t port, int type,
                                  const struct network_server *servers, unsigned n_servers);

/* The same by halves: of a client that asks again by one socket, which is of SOCK_DGRAM then.
 * -EBADF: refused. */
int network_connect(const char *where, const char *address, uint16_t port, int type);
struct network_answer network_ask_by(int client, int type, const struct network_server *servers,
                                     unsigned n_servers);
