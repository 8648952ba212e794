#include "tasks/inside/init/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/cleanup.h"

/* As systemd's own limit of a message. */
#define RELAY_MESSAGE_MAX 4096

int relay_open(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = RELAY_SOCKET };
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(RELAY_SOCKET);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(RELAY_SOCKET, 0666) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static bool is_wanted(const char *line)
{
    return strcmp(line, "READY=1") == 0 || strncmp(line, "STATUS=", strlen("STATUS=")) == 0;
}

/* Keeps the lines that are for nspawn; answers how many bytes they have. */
static size_t pick_lines(char *text)
{
    char *save = NULL, *to = text;

    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        size_t n = strlen(line);
        if (!is_wanted(line))
            continue;
        memmove(to, line, n);
        to += n;
        *to++ = '\n'; /* where strtok_r put its NUL, or before */
    }
    return (size_t)(to - text);
}

static void send_on(int fd, const char *target, const char *text, size_t n)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    size_t length = strlen(target);
    if (n == 0 || length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, target, length + 1);
    (void)sendto(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 sizeof(address));
}

void relay_pass(int fd, const char *target)
{
    char text[RELAY_MESSAGE_MAX + 2];

    /* Descriptors that come along are closed by the kernel: there is no room for them. */
    for (ssize_t n; (n = recv(fd, text, RELAY_MESSAGE_MAX, MSG_TRUNC)) >= 0;) {
        if (n > RELAY_MESSAGE_MAX)
            continue;
        text[n] = '\0';
        send_on(fd, target, text, pick_lines(text));
    }
}
