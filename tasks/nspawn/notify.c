#include "tasks/nspawn/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/nspawn/nspawn_words.h"

/* systemd's own limit of a message is a datagram of this size. */
#define NOTIFY_MESSAGE_MAX 4096

struct notify {
    int fd;
    sd_event_source *source;
    notify_fn heard;
    void *data;
};

/* 0: no pid. A number that is too large must not become another process's by being cut. */
static pid_t parse_pid(const char *text)
{
    size_t n = strspn(text, "0123456789");
    long long pid = n > 0 && n <= 10 && text[n] == '\0' ? strtoll(text, NULL, 10) : 0;

    return pid <= INT_MAX ? (pid_t)pid : 0;
}

static void parse_line(const char *line, struct notify_message *message)
{
    static const char leader[] = NSPAWN_WORDS_LEADER_PID, status[] = "STATUS=";

    if (strcmp(line, "READY=1") == 0)
        message->ready = true;
    else if (strncmp(line, leader, sizeof(leader) - 1) == 0)
        message->leader = parse_pid(line + sizeof(leader) - 1);
    else if (strncmp(line, status, sizeof(status) - 1) == 0)
        message->status = line + sizeof(status) - 1;
}

static struct notify_message parse(char *text)
{
    struct notify_message message = {};
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        parse_line(line, &message);
    return message;
}

/* Answers whether there may be more. */
static bool receive_one(struct notify *notify)
{
    char text[NOTIFY_MESSAGE_MAX + 1];

    ssize_t n = recv(notify->fd, text, NOTIFY_MESSAGE_MAX, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            log_warn("cannot read a notify socket: %s, ignoring", strerror(errno));
        return errno == EINTR;
    }
    if (n > NOTIFY_MESSAGE_MAX)
        return true;
    text[n] = '\0';

    struct notify_message message = parse(text);
    notify->heard(&message, notify->data);
    return true;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    (void)receive_one(data);
    return 0;
}

void notify_receive(struct notify *notify)
{
    while (receive_one(notify))
        continue;
}

static int bind_socket(const char *path, struct fail *reterr)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return fail_set(reterr, -ENAMETOOLONG, "the path '%s' is too long for a socket", path);
    (void)stpcpy(address.sun_path, path);

    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_set_recoverable(reterr, -errno, "cannot make a socket: %s", strerror(errno));
    if (unlink(path) < 0 && errno != ENOENT)
        return fail_set(reterr, -errno, "cannot remove '%s': %s", path, strerror(errno));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return fail_set(reterr, -errno, "cannot bind '%s': %s", path, strerror(errno));
    return TAKE_FD(fd);
}

struct notify *notify_new(sd_event *event, const char *path, notify_fn heard, void *data,
                          struct fail *reterr)
{
    CLEANUP_CLOSE int fd = bind_socket(path, reterr);

    if (fd < 0)
        return NULL;

    struct notify *notify = ALLOC_NEW(struct notify);
    notify->heard = heard;
    notify->data = data;
    notify->fd = TAKE_FD(fd);
    int r = sd_event_add_io(event, &notify->source, notify->fd, EPOLLIN, on_readable, notify);
    if (r < 0) {
        (void)fail_set_recoverable(reterr, r, "cannot watch '%s': %s", path, strerror(-r));
        return notify_free(notify);
    }
    (void)sd_event_source_set_description(notify->source, "notify");
    return notify;
}

struct notify *notify_free(struct notify *notify)
{
    if (notify == NULL)
        return NULL;
    notify->source = sd_event_source_disable_unref(notify->source);
    (void)close_fd(notify->fd);
    free(notify);
    return NULL;
}
