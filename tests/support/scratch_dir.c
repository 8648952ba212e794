#include "tests/support/scratch_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

char *scratch_dir_new(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = alloc_printf("%s/nspawn-test-XXXXXX", tmp != NULL ? tmp : "/tmp");

    if (mkdtemp(dir) == NULL)
        abort();
    return dir;
}

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

char *scratch_dir_free(char *dir)
{
    if (dir == NULL)
        return NULL;
    if (nftw(dir, on_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
    free(dir);
    return NULL;
}

char *scratch_dir_path(const char *dir, const char *name)
{
    return alloc_printf("%s/%s", dir, name);
}

size_t scratch_dir_count(const char *dir)
{
    DIR *entries = opendir(dir);
    size_t n = 0;

    if (entries == NULL)
        abort();
    while (readdir(entries) != NULL)
        n++;
    (void)closedir(entries);
    return n - 2; /* "." and ".." */
}

void scratch_dir_write(const char *dir, const char *name, const char *text)
{
    CLEANUP_FREE char *path = scratch_dir_path(dir, name);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t n = strlen(text);

    if (fd < 0 || pwrite(fd, text, n, 0) != (ssize_t)n || ftruncate(fd, (off_t)n) < 0)
        abort();
}
