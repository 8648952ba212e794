#include "tasks/exec/exec_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "reactor/cleanup.h"
#include "reactor/log.h"

int setns(int fd, int nstype); /* <sched.h> and <linux/sched.h> don't go together */

/* A process may open /dev/stdout by name, also as a user to whom the pipe does not belong. */
static int make_pipe(int fds[static 2], int ours)
{
    if (pipe2(fds, O_CLOEXEC) < 0 || fchmod(fds[0], 0666) < 0 ||
        fcntl(fds[ours], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int exec_ends_make(struct exec_ends *ends, bool tty)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->report) < 0)
        return -errno;
    if (tty)
        return 0;
    int r = make_pipe(ends->in, 1);
    if (r >= 0)
        r = make_pipe(ends->out, 0);
    if (r >= 0)
        r = make_pipe(ends->err, 0);
    return r;
}

void exec_ends_done(struct exec_ends *ends)
{
    int *all[] = { ends->report, ends->in, ends->out, ends->err };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (int k = 0; k < 2; k++)
            all[i][k] = close_fd(all[i][k]);
}

int exec_spawn(const struct exec_child *child, int cgroup_fd, int *ret_pidfd)
{
    CLEANUP_CLOSE int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    int pidfd = -EBADF;
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup_fd,
    };

    if (own < 0 || setns(child->leader_fd, CLONE_NEWPID) < 0)
        return -errno;
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    int r = pid < 0 ? -errno : 0;
    if (pid == 0)
        exec_child_run(child);
    if (setns(own, CLONE_NEWPID) < 0) {
        /* Whatever else is started would be in that container. */
        log_error("cannot return from a container's pid namespace: %s", strerror(errno));
        abort();
    }
    *ret_pidfd = pidfd;
    return r;
}
