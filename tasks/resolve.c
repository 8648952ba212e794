#include "tasks/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

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
