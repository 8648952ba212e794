#include "tasks/inside/init/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/cleanup.h"

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    size_t length = strlen(path);
    if (length >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length + 1);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * INSIDE_LINK_FD_MAX)];
};

static size_t take_fds(struct msghdr *message, int *fds)
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(c), n * sizeof(int));
    }
    return n;
}

static int receive_go(struct link *link)
{
    struct inside_link_go go = {};
    union control control = {};
    struct iovec vector = { .iov_base = &go, .iov_len = sizeof(go) };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    ssize_t n = recvmsg(link->socket_fd, &message, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    size_t n_fds = take_fds(&message, link->fds);
    if (n == 0)
        return -ECONNRESET;
    if (n != (ssize_t)sizeof(go) || go.version != INSIDE_LINK_VERSION || go.n_fds != n_fds ||
        n_fds <= INSIDE_LINK_FD_STATUS)
        return -EPROTO;
    return 0;
}

int link_open(struct link *link)
{
    *link = (struct link){ .socket_fd = connect_to(INSIDE_LINK_SOCKET) };
    for (size_t i = 0; i < INSIDE_LINK_FD_MAX; i++)
        link->fds[i] = -EBADF;
    return link->socket_fd < 0 ? link->socket_fd : receive_go(link);
}

void link_report(struct link *link, enum inside_link_stage stage, int error)
{
    struct inside_link_report report = { .stage = stage, .error = error };

    (void)send(link->socket_fd, &report, sizeof(report), MSG_NOSIGNAL);
    link->socket_fd = close_fd(link->socket_fd);
}

void link_put_status(const struct link *link, int wait_status)
{
    struct inside_link_status status = { INSIDE_LINK_STATUS_MAGIC, wait_status };

    (void)!pwrite(link->fds[INSIDE_LINK_FD_STATUS], &status, sizeof(status), 0);
}
