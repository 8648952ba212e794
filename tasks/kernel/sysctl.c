#include "tasks/kernel/sysctl.h"

#include <fcntl.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

int sysctl_read(const char *path, char *text, size_t size)
{
    CLEANUP_FREE char *full = alloc_printf("/proc/sys/%s", path), *value = NULL;

    int r = file_read(AT_FDCWD, full, 0, size - 1, &value, NULL);
    if (r < 0)
        return r;
    value[strcspn(value, "\n")] = '\0';
    (void)stpcpy(text, value);
    return 0;
}

int sysctl_write(const char *path, const char *text)
{
    CLEANUP_FREE char *full = alloc_printf("/proc/sys/%s", path);
    char current[64];

    if (sysctl_read(path, current, sizeof(current)) >= 0 && strcmp(current, text) == 0)
        return 0;
    return file_set(AT_FDCWD, full, text);
}
