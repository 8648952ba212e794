#include "tasks/mounts/ownership_walk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/mounts/ownership.h"

/* Half of the room is for breadth. The other half is for depth: one directory a level, and a path
 * that can be opened has no more levels than this. So the list is never full amid a tree. */
#define DEPTH_MAX (PATH_MAX / 2)
#define BREADTH_MAX (OWNERSHIP_QUEUE_MAX - DEPTH_MAX)

/* Bytes of entries read at once. Not more, because what was read is read again when the directory
 * is left in between. */
#define READ_BYTES 4096

static_assert(OWNERSHIP_QUEUE_MAX > DEPTH_MAX, "some room for breadth");

static struct ownership_walk_dir *dir_free(struct ownership_walk_dir *dir)
{
    free(dir->path);
    free(dir);
    return NULL;
}

bool ownership_walk_is_crowded(const struct ownership_walk *walk)
{
    return walk->n_dirs >= BREADTH_MAX;
}

bool ownership_walk_push(struct ownership_walk *walk, size_t root, char *path)
{
    CLEANUP_FREE char *owned = path;

    if (walk->n_dirs >= OWNERSHIP_QUEUE_MAX || strlen(owned) >= PATH_MAX)
        return false;
    if (walk->n_dirs == walk->n_room) {
        walk->n_room = walk->n_room > 0 ? 2 * walk->n_room : 8;
        walk->dirs = alloc_grow(walk->dirs, walk->n_room, sizeof(struct ownership_walk_dir *));
    }
    struct ownership_walk_dir *dir = ALLOC_NEW(struct ownership_walk_dir);
    *dir = (struct ownership_walk_dir){ .root = root, .path = TAKE_PTR(owned) };
    walk->dirs[walk->n_dirs++] = dir;
    return true;
}

struct ownership_walk_dir *ownership_walk_top(struct ownership_walk *walk)
{
    while (walk->n_dirs > 0 && walk->dirs[walk->n_dirs - 1]->is_done)
        dir_free(walk->dirs[--walk->n_dirs]);
    if (walk->n_dirs > 0)
        return walk->dirs[walk->n_dirs - 1];
    ownership_walk_clear(walk);
    return NULL;
}

void ownership_walk_clear(struct ownership_walk *walk)
{
    for (size_t i = 0; i < walk->n_dirs; i++)
        dir_free(walk->dirs[i]);
    free(walk->dirs);
    *walk = (struct ownership_walk){};
}

char *ownership_walk_join(const char *path, const char *name)
{
    return strcmp(path, ".") == 0 ? alloc_strdup(name) : alloc_printf("%s/%s", path, name);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The position is the file system's own, and holds for another descriptor of the same directory, as
 * it must for NFS. (On a tmpfs before Linux 6.6 it is a mere count: what is removed while a
 * directory of more than OWNERSHIP_BATCH_MAX entries is read may hide another entry. It's seen at
 * its next change.) */
int ownership_walk_read(struct ownership_walk_dir *dir, int fd, size_t n_max,
                        ownership_entry_fn entry, bool (*wants_more)(void *data), void *data,
                        size_t *ret_n)
{
    _Alignas(struct dirent64) char bytes[READ_BYTES];
    ssize_t n_read = 0;

    *ret_n = 0;
    if (dir->position != 0 && lseek(fd, dir->position, SEEK_SET) < 0)
        return -errno;
    while ((n_read = getdents64(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < n_read;) {
            const struct dirent64 *d = (const void *)(bytes + i);
            if (!is_dot(d->d_name))
                entry(d->d_name, data);
            dir->position = d->d_off;
            i += d->d_reclen;
            if (++*ret_n >= n_max || !wants_more(data))
                return 1;
        }
    }
    return n_read < 0 ? -errno : 0;
}
