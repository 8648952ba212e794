#include "tasks/ephemeral_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* tempfn_random() of systemd, src/basic/tempfile-util.c: a prefix, and 16 hex digits. */
#define PREFIX   ".#machine."
#define N_RANDOM 16

/* Directories that are open at a time. */
#define N_OPEN 32

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
static int for_each_in(struct place place, int (*found)(const char *dir, const char *entry))
{
    DIR *entries = opendir(place.dir);
    int r = 0;

    if (entries == NULL)
        return 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(entries)) != NULL;)
        if (is_copy(entry->d_name, place.name))
            r = found(place.dir, entry->d_name);
    (void)closedir(entries);
    return r;
}

static int for_each(const char *image, int (*found)(const char *dir, const char *entry))
{
    CLEANUP_FREE char *parent = alloc_strdup(image);
    char *slash = strrchr(parent, '/');

    int r = for_each_in((struct place){ image, "" }, found);
    if (r != 0 || slash == NULL || slash[1] == '\0')
        return r;
    *slash = '\0';
    return for_each_in((struct place){ slash == parent ? "/" : parent, slash + 1 }, found);
}

static int is_one(const char *dir, const char *entry)
{
    (void)dir;
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

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

static int remove_one(const char *dir, const char *entry)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", dir, entry);
    CLEANUP_FREE char *lock = alloc_printf("%s/.#%s.lck", dir, entry);
    CLEANUP_CLOSE int fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    if (!is_free(fd))
        return 0;
    int r = nftw(path, remove_entry, N_OPEN, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    (void)unlink(lock);
    if (r < 0)
        r = errno;
    return r == ENOENT ? 0 : -r; /* its nspawn has been faster */
}

int ephemeral_copy_remove(const char *image)
{
    return for_each(image, remove_one);
}
