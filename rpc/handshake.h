/* How the plugin and its host, Nomad's agent, find each other: a cookie and versions in the
 * environment, a socket, and one line on standard output (go-plugin's protocol 1, Nomad's 2).
 * Owner of a struct handshake: plugin, for the life of the process. */
#pragma once

#include <stdbool.h>

#include "reactor/fail.h"

/* The version of the driver protocol, which the host must list in PLUGIN_PROTOCOL_VERSIONS. */
#define HANDSHAKE_VERSION 2

/* The host's cookie is in the environment: not started by hand. */
bool handshake_is_launched(void);

/* Looks at what the host wants; what is odd about it is logged. -EPROTONOSUPPORT: TLS, and the host
 * is told so by our end. */
int handshake_check(int argc, char **argv);

struct handshake {
    int listen_fd; /* to be taken with TAKE_FD */
    char *path;    /* owned; the socket file is removed by handshake_done */
};

#define HANDSHAKE_INIT { .listen_fd = -EBADF }

/* Makes a listening socket under a new name in PLUGIN_UNIX_SOCKET_DIR, TMPDIR or /tmp: for the
 * owner alone (0600), or for PLUGIN_UNIX_SOCKET_GROUP too (0660). -ENAMETOOLONG when the path does
 * not fit into a socket address, -EINVAL when the line could not carry it, -ENOENT for a directory
 * or group that is not there, else the errno of what failed. */
int handshake_listen(struct handshake *handshake, struct fail *reterr);

/* Writes the line, which says that connections are accepted, and points standard output at
 * /dev/null: the host takes the first line for the handshake and may stop reading after it. */
int handshake_announce(const struct handshake *handshake, struct fail *reterr);

/* Takes HANDSHAKE_INIT and a half-made handshake too. */
void handshake_done(struct handshake *handshake);
