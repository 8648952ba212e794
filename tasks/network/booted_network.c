#include "tasks/network/booted_network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/kernel/resolve.h"

/* Read before the files that images bring along (80-container-host0.network). */
#define FILE_NAME "10-nomad-nspawn.network"

static int open_run(pid_t leader)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/root", (int)leader);
    CLEANUP_CLOSE int root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root_fd < 0)
        return -errno;
    return resolve_open(root_fd, "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                        RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
}

static int enter_dir(int parent_fd, const char *name)
{
    if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int write_file(int run_fd, const char *text)
{
    CLEANUP_CLOSE int systemd_fd = enter_dir(run_fd, "systemd");
    CLEANUP_CLOSE int network_fd = systemd_fd < 0 ? systemd_fd : enter_dir(systemd_fd, "network");

    if (network_fd < 0)
        return network_fd;
    return file_create(network_fd, FILE_NAME, text, strlen(text), 0644);
}

int booted_network_keep(pid_t leader, const char *interface)
{
    CLEANUP_FREE char *text = alloc_printf("[Match]\nName=%s\n\n[Network]\nDHCP=no\n"
                                           "IPv6AcceptRA=no\nKeepConfiguration=yes\n",
                                           interface);
    CLEANUP_CLOSE int run_fd = open_run(leader);
    struct stat run;

    if (run_fd < 0)
        return run_fd;
    if (fstat(run_fd, &run) < 0)
        return -errno;
    int gid = setfsgid(run.st_gid), uid = setfsuid(run.st_uid);
    int r = write_file(run_fd, text);
    (void)setfsuid((uid_t)uid);
    (void)setfsgid((gid_t)gid);
    return r;
}
