#include "tasks/mounts/user_range.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* The users that systemd keeps for containers (its UIDS-GIDS document), in ranges as nspawn's
 * own. */
#define BASE_MIN  UINT32_C(0x00080000)
#define BASE_MAX  UINT32_C(0x6fff0000)
#define BASE_STEP ((uint32_t)USER_RANGE_IDS)
#define N_BASES   ((BASE_MAX - BASE_MIN) / BASE_STEP + 1)

/* nspawn holds a lock (F_OFD_SETLK) on a file of the range's name here while a container has the
 * range. */
#define LOCK_DIR "/run/systemd/nspawn-uid"

/* Ranges looked at before giving up: with so many allocations on a node, ranges are not the
 * limit. */
#define BASES_TRIED_MAX 1024

/* --- whose a range is ------------------------------------------------------------------------ */

static bool is_base(uid_t uid)
{
    return uid >= BASE_MIN && uid <= BASE_MAX && uid % BASE_STEP == 0;
}

/* The range that a directory belongs to by now, 0: none. */
static uid_t base_of(int dir_fd, const char *path)
{
    struct stat st;

    if (fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    uid_t base = st.st_uid - st.st_uid % BASE_STEP;
    return is_base(base) ? base : 0;
}

static bool is_entry(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void closedir_ptr(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

static DIR *open_dir_at(int dir_fd, const char *path)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *dir = fdopendir(fd);
    if (dir != NULL)
        (void)TAKE_FD(fd);
    return dir;
}

/* Whether an allocation's directories, `path` below `dir_fd`, were given to the range `base`. */
static bool alloc_has_base(int dir_fd, const char *path, uid_t base)
{
    CLEANUP(closedir_ptr) DIR *dir = open_dir_at(dir_fd, path);
    const struct dirent *entry;

    if (dir == NULL)
        return false;
    if (base_of(dirfd(dir), "alloc") == base)
        return true;
    while ((entry = readdir(dir)) != NULL) {
        if (!is_entry(entry->d_name))
            continue;
        CLEANUP_FREE char *secrets = alloc_printf("%s/secrets", entry->d_name);
        CLEANUP_FREE char *local = alloc_printf("%s/local", entry->d_name);
        if (base_of(dirfd(dir), secrets) == base || base_of(dirfd(dir), local) == base)
            return true;
    }
    return false;
}

/* Other allocations stand beside this one, and their directories tell which range they have: no
 * register is needed, and none can be stale. */
static bool is_others(const char *alloc_dir, uid_t base)
{
    CLEANUP_FREE char *parent = alloc_strdup(alloc_dir);
    size_t n = strlen(parent);

    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = '\0';
    const char *slash = strrchr(parent, '/');
    CLEANUP_FREE char *own = alloc_strdup(slash + 1);
    parent[slash - parent + 1] = '\0';

    CLEANUP(closedir_ptr) DIR *dir = open_dir_at(AT_FDCWD, parent);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (is_entry(entry->d_name) && strcmp(entry->d_name, own) != 0 &&
            alloc_has_base(dirfd(dir), entry->d_name, base))
            return true;
    return false;
}

static bool is_locked(uid_t base)
{
    CLEANUP_FREE char *path = alloc_printf(LOCK_DIR "/%u", base);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

/* --- which one ------------------------------------------------------------------------------- */

/* Where the search begins is told by the allocation's id, so that its tasks, started at the same
 * time, come to the same range, and different allocations hardly ever to one. */
static uint32_t first_index(const char *alloc_id)
{
    uint32_t value = UINT32_C(0x811c9dc5); /* FNV-1a */

    for (const char *c = alloc_id; *c != '\0'; c++)
        value = (value ^ (unsigned char)*c) * UINT32_C(0x01000193);
    return value % N_BASES;
}

int user_range_choose(const char *alloc_dir, const char *alloc_id, const struct strv *dirs,
                      uid_t *ret_base, struct fail *reterr)
{
    for (size_t i = 0; i < dirs->n_items; i++) {
        uid_t base = base_of(AT_FDCWD, dirs->items[i]);
        if (base != 0) {
            *ret_base = base;
            return 0;
        }
    }
    uint32_t first = first_index(alloc_id != NULL ? alloc_id : alloc_dir);
    for (uint32_t i = 0; i < BASES_TRIED_MAX; i++) {
        uid_t base = BASE_MIN + (first + i) % N_BASES * BASE_STEP;
        if (is_locked(base) || is_others(alloc_dir, base))
            continue;
        *ret_base = base;
        return 0;
    }
    return fail_set_recoverable(reterr, -EBUSY,
                                "no range of users is free for the task's user namespace; stop "
                                "other containers, or set user_namespacing = false");
}
