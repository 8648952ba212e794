#include "tasks/fingerprint/probe.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/nspawn/nspawn_argv.h"

/* Where machined keeps images, and what stands in for it until it is made. */
static const char *const image_roots[] = {"/var/lib/machines", "/var/lib", "/"};

/* --- a user namespace, held by a child for a moment ------------------------------------------ */

struct target_await {
    pid_t pid;
    int pipe_fd; /* closing it ends the child */
};

static void holder_done(struct target_await *holder)
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

static int holder_start(struct target_await *holder)
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
static int open_user_namespace(void)
{
    CLEANUP(holder_done) struct target_await holder = { .pipe_fd = -EBADF };
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

static bool can_make_user_namespace(void)
{
    CLEANUP_CLOSE int fd = open_user_namespace();
    return fd >= 0;
}

/* --- mounts ---------------------------------------------------------------------------------- */

static bool is_forced_off(int fd)
{
    const char *how = secure_getenv(PROBE_NO_IDMAP_ENV);
    if (!how)
        return false;
    struct statfs fs;
    return strcmp(how, "all") == 0 ||
           (strcmp(how, "tmpfs") == 0 && fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC);
}

/* The clone is never attached to any tree and goes with its descriptor. */
static int probe_with(const char *path, int userns_fd)
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

int probe_idmap(const char *path)
{
    CLEANUP_CLOSE int userns_fd = open_user_namespace();
    if (userns_fd < 0)
        return userns_fd;
    return probe_with(path, userns_fd);
}

static bool images_can_be_idmapped(void)
{
    for (size_t i = 0; i < sizeof(image_roots) / sizeof(image_roots[0]); i++)
        if (access(image_roots[i], F_OK) == 0)
            return probe_idmap(image_roots[i]) == 0;
    return false;
}

void probe_host(struct probe_host *ret)
{
    *ret = (struct probe_host){
        .root = geteuid() == 0,
        .booted = sd_booted() > 0,
        .nspawn = access(NSPAWN_ARGV_PROGRAM, X_OK) == 0,
        .user_namespaces = can_make_user_namespace(),
        .idmapped_mounts = images_can_be_idmapped(),
        .cgroup = cgroup_version(),
    };
}
