#include "tasks/inside/init_link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

struct init_link {
    char *socket_path;
    int listen_fd, fd;
    int fds[INSIDE_LINK_FD_MAX];
    pid_t pid;
    sd_event_source *source;
    init_link_arrived_fn arrived;
    init_link_done_fn done;
    void *data;
};

/* --- files ----------------------------------------------------------------------------------- */

/* Whatever the plugin's umask is. */
static int make_dir(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    return chmod(path, 0755) < 0 ? -errno : 0;
}

static int make_empty_file(const char *path)
{
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : 0;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    (void)stpcpy(address.sun_path, path);
    if (fd < 0 || (unlink(path) < 0 && errno != ENOENT))
        return -errno;
    /* Root inside is nobody to the host. */
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(path, 0666) < 0 || listen(fd, 1) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int init_link_create_status(int dir_fd)
{
    int fd = openat(dir_fd, INIT_LINK_STATUS,
                    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

int init_link_read_status(int dir_fd, int *ret_wait_status)
{
    CLEANUP_FREE char *bytes = NULL;
    struct inside_link_status status;
    size_t n;

    int r = file_read_begin(dir_fd, INIT_LINK_STATUS, O_NOFOLLOW, sizeof(status), &bytes, &n);
    if (r < 0)
        return r;
    if (n != sizeof(status))
        return -ENODATA;
    memcpy(&status, bytes, n);
    if (status.magic != INSIDE_LINK_STATUS_MAGIC)
        return -ENODATA;
    *ret_wait_status = status.wait_status;
    return 0;
}

/* --- the link -------------------------------------------------------------------------------- */

static void end_link(struct init_link *link, const struct inside_link_report *report)
{
    init_link_done_fn done = link->done;
    void *data = link->data;
    pid_t pid = link->pid;

    (void)init_link_free(link);
    done(pid, report, data);
}

static int send_go(const struct init_link *link)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * INSIDE_LINK_FD_MAX)];
    } control = {};
    uint32_t n_fds = link->fds[INSIDE_LINK_FD_FILTERS] >= 0 ? INSIDE_LINK_FD_MAX
                                                            : INSIDE_LINK_FD_FILTERS;
    struct inside_link_go go = { .version = INSIDE_LINK_VERSION, .n_fds = n_fds };
    struct iovec vector = { .iov_base = &go, .iov_len = sizeof(go) };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(sizeof(int) * n_fds),
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
    memcpy(CMSG_DATA(head), link->fds, sizeof(int) * n_fds);
    return sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Answers whether there is more to wait for. */
static bool receive_report(struct init_link *link)
{
    struct inside_link_report report;

    ssize_t n = recv(link->fd, &report, sizeof(report), MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    end_link(link, n == (ssize_t)sizeof(report) && report.stage < INSIDE_LINK_STAGE_MAX ? &report
                                                                                        : NULL);
    return false;
}

static int on_report(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    (void)receive_report(data);
    return 0;
}

static void stop_listening(struct init_link *link)
{
    if (link->listen_fd < 0)
        return;
    link->source = sd_event_source_disable_unref(link->source);
    link->listen_fd = close_fd(link->listen_fd);
    (void)unlink(link->socket_path);
}

static void watch_fd(struct init_link *link, sd_event *event, int fd, sd_event_io_handler_t handler)
{
    int r = sd_event_add_io(event, &link->source, fd, EPOLLIN, handler, link);
    assert(r >= 0);
    (void)sd_event_source_set_description(link->source, "init-link");
}

/* The first to connect is the init: nothing else runs in there before it has its go. Answers
 * whether it is there and still waited for. */
static bool accept_init(struct init_link *link)
{
    struct ucred peer = {};
    socklen_t size = sizeof(peer);

    link->fd = accept4(link->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (link->fd < 0)
        return false;
    if (getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
        link->pid = peer.pid;
    sd_event *event = sd_event_source_get_event(link->source);
    stop_listening(link);
    watch_fd(link, event, link->fd, on_report);
    if (link->arrived != NULL && !link->arrived(link->pid, link->data))
        return true;
    if (send_go(link) < 0) {
        end_link(link, NULL);
        return false;
    }
    return true;
}

void init_link_go(struct init_link *link)
{
    if (send_go(link) < 0)
        end_link(link, NULL);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    (void)accept_init(data);
    return 0;
}

void init_link_receive(struct init_link *link)
{
    if (link->fd >= 0 || accept_init(link))
        (void)receive_report(link);
}

static int prepare(struct init_link *link, const char *dir_path)
{
    CLEANUP_FREE char *dir = alloc_printf("%s/" INIT_LINK_DIR, dir_path);
    CLEANUP_FREE char *init = alloc_printf("%s/init", dir);

    link->socket_path = alloc_printf("%s/socket", dir);
    int r = make_dir(dir);
    if (r >= 0)
        r = make_empty_file(init);
    if (r >= 0)
        r = listen_at(link->socket_path);
    if (r >= 0)
        link->listen_fd = r;
    return r;
}

struct init_link *init_link_new(sd_event *event, const char *dir_path,
                                const int fds[INSIDE_LINK_FD_MAX], init_link_arrived_fn arrived,
                                init_link_done_fn done, void *data, struct fail *reterr)
{
    struct init_link *link = ALLOC_NEW(struct init_link);

    *link = (struct init_link){
        .listen_fd = -EBADF,
        .fd = -EBADF,
        .arrived = arrived,
        .done = done,
        .data = data,
    };
    memcpy(link->fds, fds, sizeof(link->fds));
    int r = prepare(link, dir_path);
    if (r < 0) {
        (void)fail_set_recoverable(reterr, r, "cannot make the socket of the init in '%s': %s",
                                   dir_path, strerror(-r));
        return init_link_free(link);
    }
    watch_fd(link, event, link->listen_fd, on_connection);
    return link;
}

struct init_link *init_link_free(struct init_link *link)
{
    if (link == NULL)
        return NULL;
    stop_listening(link);
    link->source = sd_event_source_disable_unref(link->source);
    (void)close_fd(link->fd);
    for (size_t i = 0; i < INSIDE_LINK_FD_MAX; i++)
        (void)close_fd(link->fds[i]);
    free(link->socket_path);
    free(link);
    return NULL;
}
