#include "tasks/kernel/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

static int write_draft(const char *path, const void *bytes, size_t n_bytes, mode_t mode)
{
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, bytes, n_bytes);
    if (n < 0 || fchmod(fd, mode) < 0)
        return -errno;
    return n == (ssize_t)n_bytes ? 0 : -ENOSPC;
}

int file_write(const char *path, const void *bytes, size_t n_bytes, mode_t mode)
{
    CLEANUP_FREE char *draft = alloc_printf("%s.%d", path, getpid());

    (void)unlink(draft);
    int r = write_draft(draft, bytes, n_bytes, mode);
    if (r >= 0 && rename(draft, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(draft);
    return r;
}
