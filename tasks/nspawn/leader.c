#include "tasks/nspawn/leader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

/* PIDFD_GET_INFO of Linux 6.13 and PIDFD_INFO_EXIT of 6.15, which the headers of older
 * distributions lack. The first published size is enough, and newer kernels take it. */
struct pidfd_info_v0 {
    uint64_t mask, cgroup_id;
    uint32_t ids[11];
    int32_t exit_code;
};
static_assert(sizeof(struct pidfd_info_v0) == 64, "PIDFD_INFO_SIZE_VER0");

#define PIDFD_GET_INFO_V0  _IOWR(0xFF, 11, struct pidfd_info_v0)
#define PIDFD_INFO_EXIT_V0 (UINT64_C(1) << 3)

/* --- what /proc says ------------------------------------------------------------------------- */

/* The files of /proc that are read here are short; a longer one is not what we think. */
static int read_proc(const char *path, char *buffer, size_t n)
{
    CLEANUP_FREE char *text = NULL;

    int r = file_read_begin(AT_FDCWD, path, 0, n - 1, &text, NULL);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    (void)stpcpy(buffer, text);
    return 0;
}

/* The fourth field of stat, behind a name that may contain anything. */
static int read_parent(pid_t pid, pid_t *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/stat", pid);
    char text[1024];

    int r = read_proc(path, text, sizeof(text));
    if (r < 0)
        return r;
    const char *name_end = strrchr(text, ')');
    int parent;
    if (name_end == NULL || sscanf(name_end + 1, " %*c %d", &parent) != 1)
        return -EIO;
    *ret = parent;
    return 0;
}

static int check_parent(pid_t pid, pid_t parent)
{
    pid_t now;

    int r = read_parent(pid, &now);
    if (r < 0)
        return r;
    return now == parent ? 0 : -ESRCH;
}

/* "0::/nspawn.slice/.../<unit>/payload" */
static int check_unit(pid_t pid, const char *unit)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/cgroup", pid);
    CLEANUP_FREE char *part = alloc_printf("/%s", unit);
    char text[4096];

    int r = read_proc(path, text, sizeof(text));
    if (r < 0)
        return r;
    const char *found = strstr(text, part);
    if (found == NULL)
        return -ESRCH;
    char next = found[strlen(part)];
    return next == '/' || next == '\n' ? 0 : -ESRCH;
}

/* --- the leader ------------------------------------------------------------------------------ */

int leader_open(pid_t pid, pid_t parent, const char *unit)
{
    CLEANUP_CLOSE int fd = pidfd_open(pid, 0);

    if (fd < 0)
        return -errno;
    /* Looked at after the pidfd was opened: it is not another one by now. */
    int r = parent > 0 ? check_parent(pid, parent) : check_unit(pid, unit);
    return r < 0 ? r : TAKE_FD(fd);
}

int leader_signal(int fd, int signal)
{
    return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}

bool leader_has_ended(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) > 0;
}

int leader_status(int fd, int *ret_wait_status)
{
    struct pidfd_info_v0 info = { .mask = PIDFD_INFO_EXIT_V0 };

    if (secure_getenv(LEADER_NO_STATUS_ENV) != NULL)
        return -EOPNOTSUPP;
    if (ioctl(fd, PIDFD_GET_INFO_V0, &info) < 0) {
        if (errno == ESRCH) /* reaped, and this kernel does not keep how it ended (before 6.15) */
            return -EOPNOTSUPP;
        return errno == ENOTTY || errno == EINVAL ? -EOPNOTSUPP : -errno;
    }
    if ((info.mask & PIDFD_INFO_EXIT_V0) == 0)
        return -EAGAIN;
    *ret_wait_status = info.exit_code;
    return 0;
}

/* --- its child ------------------------------------------------------------------------------- */

int leader_find_child(pid_t leader, pid_t *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/task/%d/children", leader, leader);
    char text[4096];

    int r = read_proc(path, text, sizeof(text));
    if (r < 0)
        return r;
    long pid = strtol(text, NULL, 10);
    if (pid <= 0)
        return -EAGAIN;
    *ret = (pid_t)pid;
    return 0;
}

int leader_kill_child(pid_t parent, pid_t child, int signal)
{
    CLEANUP_CLOSE int fd = pidfd_open(child, 0);

    if (fd < 0)
        return -errno;
    int r = check_parent(child, parent);
    if (r < 0)
        return r;
    return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}
