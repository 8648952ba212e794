/* Small files, read and written at once. Nothing here waits: a FIFO where a file is expected reads
 * as empty, or gives -EAGAIN.
 *
 * `dir_fd` and `path` as of openat(2). Results are negative errno, or 0. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* The whole file; heap, with a NUL behind it. `flags`: O_NOFOLLOW or 0. `ret_n_bytes` may be NULL.
 * -EFBIG: it has more than `bytes_max`. */
int file_read(int dir_fd, const char *path, int flags, size_t bytes_max, char **ret_text,
              size_t *ret_n_bytes);
/* The same of a descriptor, from where it stands. */
int file_read_fd(int fd, size_t bytes_max, char **ret_text, size_t *ret_n_bytes);
/* Of a longer file its first `bytes_max` bytes. */
int file_read_begin(int dir_fd, const char *path, int flags, size_t bytes_max, char **ret_text,
                    size_t *ret_n_bytes);

/* Replaces what is there: written beside, and renamed. On failure it is as before. */
int file_write(const char *path, const void *bytes, size_t n_bytes, mode_t mode);
/* Makes a new one, whatever the umask is. -EEXIST, also for a link that leads nowhere. */
int file_create(int dir_fd, const char *path, const void *bytes, size_t n_bytes, mode_t mode);
/* Hands a value to a file of the kernel, by one write(2). */
int file_set(int dir_fd, const char *path, const char *value);
