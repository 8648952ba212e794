#include "tasks/nspawn/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

/* The files of /proc that are read here are short; a longer one is not what we think. */
int payload_read_proc(const char *path, char *buffer, size_t n)
{
    CLEANUP_FREE char *text = NULL;

    int r = file_read_begin(AT_FDCWD, path, 0, n - 1, &text, NULL);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    (void)stpcpy(buffer, text);
    return 0;
}

int payload_find_child(pid_t leader, pid_t *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/task/%d/children", leader, leader);
    char text[4096];

    int r = payload_read_proc(path, text, sizeof(text));
    if (r < 0)
        return r;
    long pid = strtol(text, NULL, 10);
    if (pid <= 0)
        return -EAGAIN;
    *ret = (pid_t)pid;
    return 0;
}

/* The fourth field of stat, behind a name that may contain anything. */
static int read_parent(pid_t pid, pid_t *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/stat", pid);
    char text[1024];

    int r = payload_read_proc(path, text, sizeof(text));
    if (r < 0)
        return r;
    const char *name_end = strrchr(text, ')');
    int parent;
    if (name_end == NULL || sscanf(name_end + 1, " %*c %d", &parent) != 1)
        return -EIO;
    *ret = parent;
    return 0;
}

int payload_check_parent(pid_t pid, pid_t parent)
{
    pid_t now;

    int r = read_parent(pid, &now);
    if (r < 0)
        return r;
    return now == parent ? 0 : -ESRCH;
}

int payload_kill_child(pid_t parent, pid_t child, int signal)
{
    CLEANUP_CLOSE int fd = pidfd_open(child, 0);

    if (fd < 0)
        return -errno;
    int r = payload_check_parent(child, parent);
    if (r < 0)
        return r;
    return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}
