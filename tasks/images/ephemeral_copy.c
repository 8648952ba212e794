#include "tasks/images/ephemeral_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"

/* tempfn_random() of systemd, src/basic/tempfile-util.c: a prefix, and 16 hex digits. */
#define PREFIX   ".#machine."
#define N_RANDOM 16

/* Of a tree that is removed: each level is a descriptor. */
#define DEPTH_MAX 512

/* Beside an image, with its name; in it and without, where it is a mount point. */
struct place {
    const char *dir, *name;
};

static bool is_copy(const char *entry, const char *image_name)
{
    size_t n_prefix = strlen(PREFIX), n_name = strlen(image_name);

    return strncmp(entry, PREFIX, n_prefix) == 0 &&
           strncmp(entry + n_prefix, image_name, n_name) == 0 &&
           strlen(entry + n_prefix + n_name) == N_RANDOM &&
           strspn(entry + n_prefix + n_name, "0123456789abcdef") == N_RANDOM;
}

/* Calls it for each until it answers not 0, and answers that. */
static int for_each_in(struct place place, int (*found)(int dir_fd, const char *entry))
{
    DIR *entries = opendir(place.dir);
    int r = 0;

    if (entries == NULL)
        return 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(entries)) != NULL;)
        if (is_copy(entry->d_name, place.name))
            r = found(dirfd(entries), entry->d_name);
    (void)closedir(entries);
    return r;
}

static int for_each(const char *image, int (*found)(int dir_fd, const char *entry))
{
    CLEANUP_FREE char *parent = alloc_strdup(image);
    char *slash = strrchr(parent, '/');

    int r = for_each_in((struct place){ image, "" }, found);
    if (r != 0 || slash == NULL || slash[1] == '\0')
        return r;
    *slash = '\0';
    return for_each_in((struct place){ slash == parent ? "/" : parent, slash + 1 }, found);
}

static int is_one(int dir_fd, const char *entry)
{
    (void)dir_fd;
    (void)entry;
    return 1;
}

bool ephemeral_copy_exists(const char *image)
{
    return for_each(image, is_one) != 0;
}

/* --- removing -------------------------------------------------------------------------------- */

/* Its nspawn holds this, in one of the two ways that its versions have, from before the copy is
 * made until it is gone. */
static bool is_free(int lock_fd)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return flock(lock_fd, LOCK_EX | LOCK_NB) == 0 && fcntl(lock_fd, F_OFD_SETLK, &whole) == 0;
}

static int remove_tree(int dir_fd, const char *name, unsigned depth);

static int empty(int fd, unsigned depth)
{
    DIR *entries = fdopendir(fd);
    int r = 0;

    if (entries == NULL) {
        r = -errno;
        (void)close_fd(fd);
        return r;
    }
    for (struct dirent *entry; r >= 0 && (entry = readdir(entries)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = remove_tree(dirfd(entries), entry->d_name, depth);
    (void)closedir(entries);
    return r;
}

/* An image may lie where a container can write: whatever is put in place of a directory meanwhile,
 * nothing outside of the tree is reached. */
static int remove_tree(int dir_fd, const char *name, unsigned depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth == 0)
        return -EMFILE;
    int r = resolve_open(dir_fd, name, O_RDONLY | O_DIRECTORY,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (r >= 0)
        r = empty(r, depth - 1);
    if (r >= 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r == -ENOENT ? 0 : r; /* its nspawn has been faster */
}

static int remove_one(int dir_fd, const char *entry)
{
    CLEANUP_FREE char *lock = alloc_printf(".#%s.lck", entry);
    CLEANUP_CLOSE int fd = openat(dir_fd, lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    if (!is_free(fd))
        return 0;
    int r = remove_tree(dir_fd, entry, DEPTH_MAX);
    (void)unlinkat(dir_fd, lock, 0);
    return r;
}

int ephemeral_copy_remove(const char *image)
{
    return for_each(image, remove_one);
}
