#include "rpc/handshake.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"

/* Says "I am a Nomad agent and you are my plugin"; no secret (Nomad, plugins/base). */
static const char cookie[] = "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255";

/* --- check ----------------------------------------------------------------------------------- */

/* NULL for a variable that is empty too: so do Go's plugins take them. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool lists_version(const char *versions, long wanted)
{
    while (*versions != '\0') {
        char *end;
        long version = strtol(versions, &end, 10);
        if (end != versions && version == wanted && (*end == ',' || *end == '\0'))
            return true;
        versions += strcspn(versions, ",");
        versions += *versions == ',';
    }
    return false;
}

bool handshake_is_launched(void)
{
    const char *value = getenv("NOMAD_PLUGIN_MAGIC_COOKIE");

    return value != NULL && strcmp(value, cookie) == 0;
}

int handshake_check(int argc, char **argv)
{
    if (variable("PLUGIN_CLIENT_CERT") != NULL) {
        log_error("PLUGIN_CLIENT_CERT is set, but this plugin speaks no TLS and Nomad asks for "
                  "none; remove the variable from the agent's environment");
        return -EPROTONOSUPPORT;
    }
    /* Not the end: the line names our version, and the host has a message of its own for that. */
    const char *versions = variable("PLUGIN_PROTOCOL_VERSIONS");
    if (versions == NULL || !lists_version(versions, HANDSHAKE_VERSION))
        log_error("the host speaks plugin protocol versions '%s', this plugin %d",
                  versions != NULL ? versions : "", HANDSHAKE_VERSION);
    for (int i = 1; i < argc; i++)
        log_warn("argument '%s' of the plugin block's args is not known, ignoring", argv[i]);
    return 0;
}

/* --- listen ---------------------------------------------------------------------------------- */

static int find_directory(char **ret, struct fail *reterr)
{
    const char *name = variable("PLUGIN_UNIX_SOCKET_DIR");
    if (name == NULL)
        name = variable("TMPDIR");
    if (name == NULL)
        name = "/tmp";

    CLEANUP_FREE char *path = realpath(name, NULL);
    if (path == NULL)
        return fail_set(reterr, -errno, "directory '%s' for the plugin's socket: %s", name,
                        strerror(errno));
    /* They separate the fields and end the line. */
    if (strpbrk(path, "|\n\r") != NULL)
        return fail_set(reterr, -EINVAL,
                        "directory '%s' for the plugin's socket: set TMPDIR of the agent to one "
                        "without '|' and line breaks in its name",
                        name);
    *ret = TAKE_PTR(path);
    return 0;
}

static int name_socket(const char *directory, struct sockaddr_un *ret, struct fail *reterr)
{
    uint64_t number;
    /* Sixteen hex digits cannot fail to be there: the pool is filled long before an agent runs. */
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return fail_set(reterr, -EIO, "random numbers for the socket's name: none to be had");

    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/plugin%016" PRIx64,
                     strcmp(directory, "/") == 0 ? "" : directory, number);
    if (n < 0 || (size_t)n >= sizeof(ret->sun_path))
        return fail_set(reterr, -ENAMETOOLONG,
                        "directory '%s' for the plugin's socket: the socket's path would have %d "
                        "bytes, of which a socket address holds %zu; set TMPDIR of the agent to a "
                        "shorter one",
                        directory, n, sizeof(ret->sun_path) - 1);
    return 0;
}

/* A name is drawn again while it is taken, which with 64 random bits nobody will ever see. */
static int bind_new_name(int fd, const char *directory, char **ret_path, struct fail *reterr)
{
    struct sockaddr_un address;

    assert(directory != NULL);
    for (int tries = 0; tries < 8; tries++) {
        int r = name_socket(directory, &address, reterr);
        if (r < 0)
            return r;
        if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
            *ret_path = alloc_strdup(address.sun_path);
            return 0;
        }
        if (errno != EADDRINUSE)
            break;
    }
    return fail_set(reterr, -errno, "socket '%s': %s", address.sun_path, strerror(errno));
}

static int find_group(const char *name, gid_t *ret, struct fail *reterr)
{
    const struct group *group = getgrnam(name);
    if (group != NULL) {
        *ret = group->gr_gid;
        return 0;
    }

    char *end;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    /* (gid_t)-1 would mean "leave it" to chown. */
    if (errno != 0 || name[0] < '0' || name[0] > '9' || *end != '\0' || number >= (gid_t)-1)
        return fail_set(reterr, -ENOENT, "PLUGIN_UNIX_SOCKET_GROUP '%s': no such group", name);
    *ret = (gid_t)number;
    return 0;
}

static int give_to_group(const char *path, struct fail *reterr)
{
    const char *name = variable("PLUGIN_UNIX_SOCKET_GROUP");
    if (name == NULL)
        return 0;

    gid_t gid = (gid_t)-1;
    int r = find_group(name, &gid, reterr);
    if (r < 0)
        return r;
    if (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0)
        return fail_set(reterr, -errno, "socket '%s': giving it to group '%s': %s", path, name,
                        strerror(errno));
    return 0;
}

int handshake_listen(struct handshake *handshake, struct fail *reterr)
{
    CLEANUP_FREE char *directory = NULL;
    int r = find_directory(&directory, reterr);
    if (r < 0)
        return r;

    handshake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handshake->listen_fd < 0)
        return fail_set(reterr, -errno, "socket for the agent: %s", strerror(errno));
    /* bind() gives the file the mode of the unbound socket: it is never open to others, as it would
     * be between bind() and chmod(). */
    if (fchmod(handshake->listen_fd, 0600) < 0)
        return fail_set(reterr, -errno, "mode of the socket for the agent: %s", strerror(errno));
    r = bind_new_name(handshake->listen_fd, directory, &handshake->path, reterr);
    if (r < 0)
        return r;
    r = give_to_group(handshake->path, reterr);
    if (r < 0)
        return r;
    if (listen(handshake->listen_fd, SOMAXCONN) < 0)
        return fail_set(reterr, -errno, "socket '%s': %s", handshake->path, strerror(errno));
    return 0;
}

/* --- announce -------------------------------------------------------------------------------- */

static int write_all(int fd, const char *text)
{
    for (size_t n_left = strlen(text); n_left > 0;) {
        ssize_t n = write(fd, text, n_left);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            n_left -= (size_t)n;
        }
    }
    return 0;
}

int handshake_announce(const struct handshake *handshake, struct fail *reterr)
{
    /* Core protocol 1, no certificate. Hosts that ask about multiplexing get a seventh field; the
     * others would take it for a part of the certificate. */
    CLEANUP_FREE char *line =
        alloc_printf("1|%d|unix|%s|grpc|%s\n", HANDSHAKE_VERSION, handshake->path,
                     variable("PLUGIN_MULTIPLEX_GRPC") != NULL ? "|false" : "");

    int r = write_all(STDOUT_FILENO, line);
    if (r < 0)
        return fail_set(reterr, r, "writing the handshake to standard output: %s", strerror(-r));

    CLEANUP_CLOSE int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
        return fail_set(reterr, -errno, "pointing standard output at /dev/null: %s",
                        strerror(errno));
    return 0;
}

void handshake_done(struct handshake *handshake)
{
    handshake->listen_fd = close_fd(handshake->listen_fd);
    if (handshake->path != NULL && unlink(handshake->path) < 0 && errno != ENOENT)
        log_warn("removing socket '%s': %s, ignoring", handshake->path, strerror(errno));
    free(handshake->path);
    handshake->path = NULL;
}
