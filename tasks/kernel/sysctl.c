#include "tasks/kernel/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

int sysctl_read(const char *path, char *text, size_t size)
{
    CLEANUP_FREE char *full = alloc_printf("/proc/sys/%s", path);
    CLEANUP_CLOSE int fd = open(full, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

    if (n < 0)
        return -errno;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

int sysctl_write(const char *path, const char *text)
{
    CLEANUP_FREE char *full = alloc_printf("/proc/sys/%s", path);
    char current[64];

    if (sysctl_read(path, current, sizeof(current)) >= 0 && strcmp(current, text) == 0)
        return 0;
    CLEANUP_CLOSE int fd = open(full, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return -errno;
    return 0;
}
