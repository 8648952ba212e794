#include "logs/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

int fifo_make(int dir_fd, const char *path, struct fail *reterr)
{
    struct stat st;

    if (mkfifoat(dir_fd, path, 0666) < 0 && errno != EEXIST)
        return fail_set(reterr, -errno, "log FIFO '%s' can't be made: %m", path);
    if (fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_set(reterr, -errno, "log FIFO '%s' can't be looked at: %m", path);
    if (!S_ISFIFO(st.st_mode))
        return fail_set(reterr, -EEXIST, "'%s' should be a log FIFO and is something else", path);
    if (fchmodat(dir_fd, path, 0666, 0) < 0)
        return fail_set(reterr, -errno, "log FIFO '%s' can't be opened up: %m", path);
    return 0;
}

static int open_ours(int dir_fd, const char *path, int flags, struct fail *reterr)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags);
    struct stat st;

    if (fd < 0)
        return fail_set(reterr, -errno, "log FIFO '%s' can't be opened: %m", path);
    if (fstat(fd, &st) < 0)
        return fail_set(reterr, -errno, "log FIFO '%s' can't be looked at: %m", path);
    if (!S_ISFIFO(st.st_mode))
        return fail_set(reterr, -EINVAL, "'%s' should be a log FIFO and is something else", path);
    return TAKE_FD(fd);
}

int fifo_open_payload(int dir_fd, const char *path, struct fail *reterr)
{
    return open_ours(dir_fd, path, 0, reterr);
}

int fifo_open_source(int dir_fd, const char *path, struct fail *reterr)
{
    return open_ours(dir_fd, path, O_NONBLOCK, reterr);
}

/* Opens again what `fd` has open: whatever happens to the path, it is the file that was checked. */
static int reopen(int fd, int flags)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int ret = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return ret < 0 ? -errno : ret;
}

int fifo_reopen_read(int fd)
{
    return reopen(fd, O_RDONLY);
}

/* A write end is refused while nobody reads (ENXIO), and a collector that blocks in its own open
 * until there is a writer can't be seen by inotify: both would wait for each other. So a read-write
 * end, which is never refused, is there for the moment of opening. It is gone before it could
 * read. */
static int open_write_end(int path_fd)
{
    int fd = reopen(path_fd, O_WRONLY);
    if (fd != -ENXIO)
        return fd;

    CLEANUP_CLOSE int both = reopen(path_fd, O_RDWR);
    return both < 0 ? both : reopen(path_fd, O_WRONLY);
}

/* Appending by O_APPEND is nothing that splice can do. */
static int open_file_end(int path_fd)
{
    CLEANUP_CLOSE int fd = reopen(path_fd, O_WRONLY);

    if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static bool is_null_device(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

int fifo_open_target(const char *path, struct fail *reterr)
{
    CLEANUP_CLOSE int path_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int fd;

    if (path_fd < 0 || fstat(path_fd, &st) < 0)
        return fail_set(reterr, -errno, "log target '%s' can't be opened: %m", path);
    if (S_ISLNK(st.st_mode))
        return fail_set(reterr, -ELOOP, "log target '%s' is a symbolic link", path);

    if (S_ISFIFO(st.st_mode))
        fd = open_write_end(path_fd);
    else if (S_ISREG(st.st_mode))
        fd = open_file_end(path_fd);
    else if (is_null_device(&st))
        fd = reopen(path_fd, O_WRONLY);
    else
        return fail_set(reterr, -EINVAL,
                        "log target '%s' is neither a FIFO nor a regular file nor /dev/null", path);
    if (fd < 0)
        return fail_set(reterr, fd, "log target '%s' can't be opened: %s", path, strerror(-fd));
    return fd;
}

const char *fifo_target_path(const char *path)
{
    return path == NULL || path[0] == '\0' ? "/dev/null" : path;
}

bool fifo_has_reader(int fd)
{
    struct pollfd pollfd = { .fd = fd };

    return poll(&pollfd, 1, 0) < 0 || (pollfd.revents & POLLERR) == 0;
}

bool fifo_is_at(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

uint64_t fifo_unread(int fd)
{
    int n = 0;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode) || ioctl(fd, FIONREAD, &n) < 0)
        return 0;
    return n > 0 ? (uint64_t)n : 0;
}

/* What an unprivileged process may ask for; the administrator's limit holds for us as well,
 * although the kernel would let root exceed it. */
static int size_allowed(void)
{
    CLEANUP_CLOSE int fd = open("/proc/sys/fs/pipe-max-size", O_RDONLY | O_CLOEXEC);
    char text[32] = "";

    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return FIFO_BYTES_MAX;
    long n = strtol(text, NULL, 10);
    return n > 0 && n < FIFO_BYTES_MAX ? (int)n : FIFO_BYTES_MAX;
}

void fifo_enlarge(int fd)
{
    (void)fcntl(fd, F_SETPIPE_SZ, size_allowed());
}
