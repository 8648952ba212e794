#include "tasks/kernel/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

/* --- a user namespace, held by a child for a moment ------------------------------------------ */

struct holder {
    pid_t pid;
    int pipe_fd; /* closing it ends the child */
};

static void holder_done(struct holder *holder)
{
    close_fd(holder->pipe_fd);
    /* No exit signal was asked for: such children are waited for by __WCLONE only, and the loop,
     * which may watch SIGCHLD, never hears of them. */
    if (holder->pid > 0)
        while (waitpid(holder->pid, NULL, __WCLONE) < 0 && errno == EINTR)
            ;
}

static void run_holder(int read_fd, int write_fd) __attribute__((noreturn));
static void run_holder(int read_fd, int write_fd)
{
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)close(write_fd);
    _exit(read(read_fd, &byte, 1) == 0 ? 0 : 1); /* at its end, nobody needs us any more */
}

static int holder_start(struct holder *holder)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    holder->pipe_fd = fds[1];
    CLEANUP_CLOSE int read_fd = fds[0];
    /* clone(2) without CLONE_VM is fork(2); the C library has no wrapper for it like this. */
    long pid = syscall(SYS_clone, CLONE_NEWUSER, NULL, NULL, NULL, NULL);
    if (pid < 0)
        return -errno;
    if (pid == 0)
        run_holder(read_fd, fds[1]);
    holder->pid = (pid_t)pid;
    return 0;
}

static int write_map(pid_t pid, const char *file)
{
    static const char map[] = "0 524288 65536";
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return file_set(AT_FDCWD, path, map);
}

/* The namespace lives on by the descriptor when its holder has gone. */
int idmap_open_user_namespace(void)
{
    CLEANUP(holder_done) struct holder holder = { .pipe_fd = -EBADF };
    int r = holder_start(&holder);
    if (r < 0)
        return r;
    r = write_map(holder.pid, "uid_map");
    if (r < 0)
        return r;
    r = write_map(holder.pid, "gid_map");
    if (r < 0)
        return r;
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)holder.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- mounts ---------------------------------------------------------------------------------- */

static bool is_forced_off(int fd)
{
    const char *how = secure_getenv(IDMAP_OFF_ENV);
    if (!how)
        return false;
    struct statfs fs;
    return strcmp(how, "all") == 0 ||
           (strcmp(how, "tmpfs") == 0 && fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC);
}

/* The clone is never attached to any tree and goes with its descriptor. */
static int try_with(const char *path, int userns_fd)
{
    CLEANUP_CLOSE int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (is_forced_off(fd))
        return -EOPNOTSUPP;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd};
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        /* EINVAL is the kernel's word for a file system that does not know how. */
        return errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return 0;
}

int idmap_try(const char *path)
{
    CLEANUP_CLOSE int userns_fd = idmap_open_user_namespace();
    if (userns_fd < 0)
        return userns_fd;
    return try_with(path, userns_fd);
}
