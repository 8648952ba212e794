#include "tasks/security/seccomp_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/hash.h"
#include "reactor/memory_file.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tasks/kernel/file.h"
#include "tasks/security/seccomp_key.h"

#define MAGIC   UINT32_C(0x7063736e) /* "nscp" */
#define VERSION 1

/* A key and a list of libraries are a few KiB. */
#define FILE_BYTES_MAX (INSIDE_FILTERS_BYTES_MAX + 256 * 1024)

/* Then the key, the libraries, and the programs, without anything between. In the host's byte
 * order: it never leaves the host. */
struct header {
    uint32_t magic, version;
    uint64_t hash; /* of all that follows it */
    uint32_t n_key, n_libraries, n_programs, reserved;
};

#define HASHED offsetof(struct header, n_key)

static char *file_path(const char *dir, const char *key)
{
    return alloc_printf("%s/%016" PRIx64, dir, hash_bytes(key, strlen(key)));
}

/* --- reading --------------------------------------------------------------------------------- */

static bool is_ours(const struct stat *stat, mode_t type)
{
    return (stat->st_mode & S_IFMT) == type && stat->st_uid == geteuid() &&
           (stat->st_mode & 022) == 0;
}

static int check_dir(const char *dir)
{
    struct stat stat;

    if (lstat(dir, &stat) < 0)
        return -errno;
    return is_ours(&stat, S_IFDIR) ? 0 : -EPERM;
}

static int read_file(const char *path, uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) < 0)
        return -errno;
    if (!is_ours(&stat, S_IFREG))
        return -EPERM;
    if (stat.st_size < (off_t)sizeof(struct header) || stat.st_size > (off_t)FILE_BYTES_MAX)
        return -EBADMSG;
    CLEANUP_FREE char *bytes = NULL;
    size_t n_bytes;
    int r = file_read_fd(fd, (size_t)stat.st_size, &bytes, &n_bytes);
    if (r < 0)
        return r;
    if (n_bytes != (size_t)stat.st_size)
        return -EBADMSG;
    *ret_n_bytes = n_bytes;
    *ret_bytes = (uint8_t *)TAKE_PTR(bytes);
    return 0;
}

static int check_file(const uint8_t *bytes, size_t n_bytes, const char *key)
{
    struct header header;
    const uint8_t *body = bytes + sizeof(header);

    memcpy(&header, bytes, sizeof(header));
    if (header.magic != MAGIC || header.version != VERSION || header.reserved != 0 ||
        (uint64_t)header.n_key + header.n_libraries + header.n_programs !=
            n_bytes - sizeof(header) ||
        header.hash != hash_bytes(bytes + HASHED, n_bytes - HASHED))
        return -EBADMSG;
    if (header.n_key != strlen(key) || memcmp(body, key, header.n_key) != 0)
        return -ESTALE; /* another key of the same name */
    body += header.n_key;
    if (!seccomp_key_is_current((const char *)body, header.n_libraries))
        return -ESTALE;
    if (header.n_programs == 0)
        return -EBADMSG;
    return inside_filters_check(body + header.n_libraries, header.n_programs);
}

/* What was checked is what is installed. */
static int seal(const uint8_t *bytes, size_t n_bytes)
{
    CLEANUP_CLOSE int fd = memory_file_new("seccomp-programs", bytes, n_bytes);

    if (fd < 0)
        return fd;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int seccomp_cache_find(const char *dir, const char *key)
{
    CLEANUP_FREE char *path = file_path(dir, key);
    CLEANUP_FREE uint8_t *bytes = NULL;
    struct header header;
    size_t n_bytes = 0;

    int r = check_dir(dir);
    if (r >= 0)
        r = read_file(path, &bytes, &n_bytes);
    if (r >= 0)
        r = check_file(bytes, n_bytes, key);
    if (r < 0)
        return r;
    memcpy(&header, bytes, sizeof(header));
    return seal(bytes + n_bytes - header.n_programs, header.n_programs);
}

/* --- writing --------------------------------------------------------------------------------- */

static int make_dirs(const char *dir)
{
    CLEANUP_FREE char *parent = alloc_strdup(dir);
    char *slash = strrchr(parent, '/');

    if (slash != NULL && slash != parent) {
        *slash = '\0';
        if (mkdir(parent, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    return check_dir(dir);
}

static bool is_older(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Answers how many there are; `ret_name` (heap) is NULL when there is none. */
static size_t find_oldest(DIR *entries, char **ret_name)
{
    struct stat oldest = {}, stat;
    CLEANUP_FREE char *name = NULL;
    size_t n = 0;

    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (fstatat(dirfd(entries), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) < 0 ||
            S_ISDIR(stat.st_mode))
            continue;
        n++;
        if (name != NULL && !is_older(&stat.st_mtim, &oldest.st_mtim))
            continue;
        oldest = stat;
        free(name);
        name = alloc_strdup(entry->d_name);
    }
    *ret_name = TAKE_PTR(name);
    return n;
}

/* Also drafts of who was killed. */
static void make_room(const char *dir)
{
    DIR *entries = opendir(dir);
    bool is_full = entries != NULL;

    while (is_full) {
        CLEANUP_FREE char *name = NULL;
        rewinddir(entries);
        is_full = find_oldest(entries, &name) >= SECCOMP_CACHE_FILES_MAX &&
                  unlinkat(dirfd(entries), name, 0) == 0;
    }
    if (entries != NULL)
        (void)closedir(entries);
}

int seccomp_cache_store(const char *dir, const char *key, const struct strv *libraries,
                        const uint8_t *programs, size_t n_programs)
{
    CLEANUP_FREE char *list = strv_join(libraries, "\n"), *path = file_path(dir, key);
    struct header header = {
        .magic = MAGIC,
        .version = VERSION,
        .n_key = (uint32_t)strlen(key),
        .n_libraries = (uint32_t)strlen(list),
        .n_programs = (uint32_t)n_programs,
    };
    size_t n_bytes = sizeof(header) + header.n_key + header.n_libraries + n_programs;

    if (n_bytes > FILE_BYTES_MAX)
        return -EFBIG;
    int r = make_dirs(dir);
    if (r < 0)
        return r;
    make_room(dir);
    CLEANUP_FREE uint8_t *bytes = alloc_zero(n_bytes, 1);
    uint8_t *to = bytes + sizeof(header);
    memcpy(to, key, header.n_key);
    memcpy(to += header.n_key, list, header.n_libraries);
    memcpy(to + header.n_libraries, programs, n_programs);
    memcpy(bytes, &header, sizeof(header));
    header.hash = hash_bytes(bytes + HASHED, n_bytes - HASHED);
    memcpy(bytes, &header, sizeof(header));
    return file_write(path, bytes, n_bytes, 0600);
}

int seccomp_cache_remove(const char *dir, const char *key)
{
    CLEANUP_FREE char *path = file_path(dir, key);

    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
