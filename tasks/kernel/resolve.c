#include "tasks/kernel/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* openat2 has no wrapper in the C library. It is as old as Linux 5.6, and so older than any system
 * with the libsystemd that we need: there is no other way for one without it. */
int resolve_open(int dir_fd, const char *path, int flags, uint64_t resolve)
{
    const struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC), .resolve = resolve };
    long fd = -1;

    for (unsigned i = 0; i < RESOLVE_TRIES; i++) {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int resolve_below(const char *dir, const char *path, char **ret_path)
{
    CLEANUP_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -errno;
    CLEANUP_CLOSE int fd = resolve_open(dir_fd, path, O_PATH,
                                        RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    if (fd < 0)
        return fd;
    CLEANUP_FREE char *link = alloc_printf("/proc/self/fd/%d", fd);
    char *resolved = realpath(link, NULL);
    if (resolved == NULL)
        return -errno;
    *ret_path = resolved;
    return 0;
}
