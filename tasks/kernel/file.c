#include "tasks/kernel/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* Nearly all that is read here is shorter: one read(2), and one that finds the end. */
#define FIRST_READ_BYTES ((size_t)4096)

/* --- reading --------------------------------------------------------------------------------- */

static int read_up_to(int fd, size_t limit, char **ret_text, size_t *ret_n_bytes)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0, n_read = 0;
    ssize_t n = 1;

    assert(limit > 0);
    for (; n > 0 && n_read < limit; n_read += (size_t)n) {
        if (n_read == size) {
            size = size == 0 ? FIRST_READ_BYTES : 2 * size;
            size = size < limit ? size : limit;
            text = alloc_grow(text, size + 1, 1);
        }
        n = read(fd, text + n_read, size - n_read);
        if (n < 0)
            return -errno;
    }
    text[n_read] = '\0';
    *ret_text = TAKE_PTR(text);
    *ret_n_bytes = n_read;
    return 0;
}

static int open_to_read(int dir_fd, const char *path, int flags)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags);

    return fd < 0 ? -errno : fd;
}

int file_read_fd(int fd, size_t bytes_max, char **ret_text, size_t *ret_n_bytes)
{
    CLEANUP_FREE char *text = NULL;
    size_t n_bytes;

    int r = read_up_to(fd, bytes_max + 1, &text, &n_bytes);
    if (r < 0)
        return r;
    if (n_bytes > bytes_max)
        return -EFBIG;
    *ret_text = TAKE_PTR(text);
    if (ret_n_bytes != NULL)
        *ret_n_bytes = n_bytes;
    return 0;
}

int file_read(int dir_fd, const char *path, int flags, size_t bytes_max, char **ret_text,
              size_t *ret_n_bytes)
{
    CLEANUP_CLOSE int fd = open_to_read(dir_fd, path, flags);

    return fd < 0 ? fd : file_read_fd(fd, bytes_max, ret_text, ret_n_bytes);
}

int file_read_begin(int dir_fd, const char *path, int flags, size_t bytes_max, char **ret_text,
                    size_t *ret_n_bytes)
{
    CLEANUP_CLOSE int fd = open_to_read(dir_fd, path, flags);
    size_t n_bytes;

    assert(bytes_max > 0);
    int r = fd < 0 ? fd : read_up_to(fd, bytes_max, ret_text, &n_bytes);
    if (r >= 0 && ret_n_bytes != NULL)
        *ret_n_bytes = n_bytes;
    return r;
}

/* --- writing --------------------------------------------------------------------------------- */

static int fill(int fd, const void *bytes, size_t n_bytes, mode_t mode)
{
    ssize_t n = write(fd, bytes, n_bytes);

    if (n < 0 || fchmod(fd, mode) < 0)
        return -errno;
    return n == (ssize_t)n_bytes ? 0 : -ENOSPC;
}

/* Until it is whole nobody else may read it. */
int file_create(int dir_fd, const char *path, const void *bytes, size_t n_bytes, mode_t mode)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, path,
                                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    int r = fill(fd, bytes, n_bytes, mode);
    if (r < 0)
        (void)unlinkat(dir_fd, path, 0);
    return r;
}

int file_write(const char *path, const void *bytes, size_t n_bytes, mode_t mode)
{
    CLEANUP_FREE char *draft = alloc_printf("%s.%d", path, getpid());

    (void)unlink(draft);
    int r = file_create(AT_FDCWD, draft, bytes, n_bytes, mode);
    if (r >= 0 && rename(draft, path) < 0) {
        r = -errno;
        (void)unlink(draft);
    }
    return r;
}

int file_set(int dir_fd, const char *path, const char *value)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, path, O_WRONLY | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return -errno;
    return 0;
}
