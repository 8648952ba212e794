#include "tasks/mounts/owner_shift.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <unistd.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"
#include "tasks/mounts/user_range.h"

#define PERMISSIONS (S_ISUID | S_ISGID | S_ISVTX | S_IRWXU | S_IRWXG | S_IRWXO)

bool owner_shift_base_is_valid(uid_t base)
{
    return base % USER_RANGE_IDS == 0 && base > 0 && base < (uid_t)-USER_RANGE_IDS;
}

static int open_beneath(int dir_fd, const char *path, int flags)
{
    return resolve_open(dir_fd, path, flags | O_NOFOLLOW,
                        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                            RESOLVE_NO_XDEV);
}

int owner_shift_open_dir(int root_fd, const char *path)
{
    return open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY);
}

static bool is_ours(const struct stat *st)
{
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        return false;
    return S_ISDIR(st->st_mode) || st->st_nlink == 1;
}

static bool needs_shift(const struct stat *st)
{
    return is_ours(st) && (st->st_uid < USER_RANGE_IDS || st->st_gid < USER_RANGE_IDS);
}

static bool is_in_range(const struct stat *st, uid_t base)
{
    return st->st_uid - base < USER_RANGE_IDS && st->st_gid - base < USER_RANGE_IDS;
}

/* A change of owner takes the set-user and set-group bits away; with ID mapping they would be seen.
 * They come back only on a file that is the container's whole, user and group: it could set them
 * itself. The descriptor is an O_PATH one, which fchmod refuses. */
static int restore_bits(int fd, const struct stat *before, uid_t base)
{
    mode_t bits = before->st_mode & (S_ISUID | S_ISGID);
    struct stat st;
    char path[sizeof("/proc/self/fd/") + 10];

    if (!S_ISREG(before->st_mode) || bits == 0)
        return 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!is_in_range(&st, base) || (st.st_mode & bits) == bits)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return chmod(path, (st.st_mode & PERMISSIONS) | bits) < 0 ? -errno : 0;
}

int owner_shift_fd(int fd, uid_t base)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!needs_shift(&st))
        return 0;
    uid_t uid = st.st_uid < USER_RANGE_IDS ? base + st.st_uid : (uid_t)-1;
    gid_t gid = st.st_gid < USER_RANGE_IDS ? base + st.st_gid : (gid_t)-1;
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return -errno;
    return restore_bits(fd, &st, base);
}

/* Most entries are right already, and cost one system call. */
int owner_shift_entry(int dir_fd, const char *name, uid_t base, bool *ret_is_dir)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return -errno;
    if (needs_shift(&st)) {
        CLEANUP_CLOSE int fd = open_beneath(dir_fd, name, O_PATH);
        if (fd < 0)
            return fd;
        int r = owner_shift_fd(fd, base);
        if (r < 0)
            return r;
    }
    if (ret_is_dir != NULL)
        *ret_is_dir = S_ISDIR(st.st_mode);
    return 0;
}

bool owner_shift_is_gone(int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -ELOOP:
    case -EXDEV:
    case -ESTALE:
        return true;
    default:
        return false;
    }
}
