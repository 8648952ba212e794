#include "tasks/kernel/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/sysctl.h"

int netns_open(pid_t pid)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/ns/net", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int netns_run(int netns_fd, int (*work)(void *data), void *data)
{
    CLEANUP_CLOSE int own_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (own_fd < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
        return -errno;
    int r = work(data);
    if (setns(own_fd, CLONE_NEWNET) < 0) {
        /* All that is done from here on would be done in a container's network. */
        log_error("cannot come back from a container's network namespace: %s", strerror(errno));
        abort();
    }
    return r;
}

struct setting {
    const char *path, *text;
};

static int write_setting(void *data)
{
    const struct setting *setting = data;

    return sysctl_write(setting->path, setting->text);
}

int netns_write_sysctl(int netns_fd, const char *path, const char *text)
{
    struct setting setting = { path, text };

    return netns_run(netns_fd, write_setting, &setting);
}
