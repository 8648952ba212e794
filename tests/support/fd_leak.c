#include "tests/support/fd_leak.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FDS_MAX 1024

static bool was_open[FDS_MAX];

static void list_open(bool *open)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    memset(open, 0, FDS_MAX * sizeof(*open));
    if (dir == NULL)
        abort();
    while ((entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < FDS_MAX)
            open[fd] = true;
    }
    (void)closedir(dir);
}

int fd_leak_setup(void **state)
{
    (void)state;
    list_open(was_open);
    return 0;
}

static void tell(int fd)
{
    char path[64], target[256] = "?";

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n >= 0)
        target[n] = '\0';
    print_error("descriptor %d is still open: %s\n", fd, target);
}

int fd_leak_teardown(void **state)
{
    bool is_open[FDS_MAX];
    int n_leaked = 0;

    (void)state;
    list_open(is_open);
    for (int fd = 0; fd < FDS_MAX; fd++) {
        if (!is_open[fd] || was_open[fd])
            continue;
        tell(fd);
        n_leaked++;
    }
    return n_leaked > 0 ? -1 : 0;
}
