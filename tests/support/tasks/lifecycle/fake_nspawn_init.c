/* PID 1 as it is played where runs have to be quick: without namespaces and without programs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/init_link.h"
#include "tasks/inside/shared/inside_link.h"
#include "tests/support/tasks/lifecycle/fake_nspawn_private.h"

/* The source of what is bound at INSIDE_LINK_DIR. */
static int connect_link(const struct strv *argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    for (size_t i = 0; i < argv->n_items; i++) {
        const char *end = strstr(argv->items[i], ":" INSIDE_LINK_DIR);
        if (end == NULL || strcmp(end, ":" INSIDE_LINK_DIR) != 0)
            continue;
        const char *source = strchr(argv->items[i], '=') + 1;
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/socket",
                       (int)(end - source), source);
    }
    return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? fd
                                                                                           : -errno;
}

/* Answers the descriptor of the status file; the others are not needed. */
static int receive_go(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * INSIDE_LINK_FD_MAX)];
    } control = {};
    struct inside_link_go go = {};
    struct iovec vector = { .iov_base = &go, .iov_len = sizeof(go) };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    int fds[INSIDE_LINK_FD_MAX];

    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != sizeof(go))
        return -EPIPE;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || go.n_fds > INSIDE_LINK_FD_MAX)
        return -EPROTO;
    memcpy(fds, CMSG_DATA(header), go.n_fds * sizeof(int));
    return fds[INSIDE_LINK_FD_STATUS];
}

/* The task's command. Its parent is PID 1. */
_Noreturn static void await_code(const struct strv *argv, bool is_stubborn, pid_t parent)
{
    CLEANUP_FREE char *path = alloc_printf("%s/go/fifo", fake_nspawn_value(argv, "--directory="));
    FILE *file = fopen(path, "re");
    sigset_t signals;
    int code = 1;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it was killed before */
        (_exit)(code);
    (void)(is_stubborn ? sigfillset(&signals) : sigemptyset(&signals));
    (void)sigprocmask(SIG_SETMASK, &signals, NULL);
    if (file != NULL) {
        (void)!fscanf(file, "%d", &code);
        (void)fclose(file);
    }
    (_exit)(code);
}

static int await_end(pid_t child, const sigset_t *signals)
{
    siginfo_t info;
    int status;

    for (;;) {
        int number = sigwaitinfo(signals, &info);
        if (waitpid(child, &status, WNOHANG) == child)
            return status;
        if (number > 0 && number != SIGCHLD)
            (void)kill(child, number);
    }
}

_Noreturn static void run_init(const struct strv *argv, bool is_stubborn, const sigset_t *signals)
{
    struct inside_link_report report = { .stage = INSIDE_LINK_STAGE_DONE };
    int fd = connect_link(argv);
    int status_fd = fd >= 0 ? receive_go(fd) : -EBADF;

    if (status_fd < 0)
        (_exit)(INSIDE_LINK_LOST);
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        await_code(argv, is_stubborn, parent);
    (void)!write(fd, &report, sizeof(report));
    (void)close(fd);
    struct inside_link_status status = { INSIDE_LINK_STATUS_MAGIC, await_end(child, signals) };
    (void)!pwrite(status_fd, &status, sizeof(status), 0);
    (_exit)(WIFEXITED(status.wait_status) ? WEXITSTATUS(status.wait_status)
                                          : 128 + WTERMSIG(status.wait_status));
}

_Noreturn void fake_nspawn_play_init(const struct strv *argv, bool is_stubborn)
{
    sigset_t signals;
    siginfo_t info;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigfillset(&signals);
    (void)sigprocmask(SIG_SETMASK, &signals, NULL);
    if (!strv_contains(argv, "--boot"))
        run_init(argv, is_stubborn, &signals);
    /* A booted system halts in order. */
    while (sigwaitinfo(&signals, &info) != SIGRTMIN + 3)
        continue;
    (_exit)(0);
}
