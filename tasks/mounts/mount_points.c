#include "tasks/mounts/mount_points.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"

/* nspawn mounts something of its own on these, and does not start without /run and /tmp. */
static const char *const own_points[] = { "/dev", "/proc", "/run", "/sys", "/tmp" };

struct point {
    const char *path;
    bool is_file;
    size_t depth;
};

struct points {
    struct point *items;
    size_t n_items;
};

struct inode {
    dev_t dev;
    ino_t ino;
};

struct image {
    int root_fd;
    struct stat root;
    /* Directories on which something will be mounted: what is made in them would not be seen. */
    struct inode *covered;
    size_t n_covered;
};

/* --- which ----------------------------------------------------------------------------------- */

static size_t count_components(const char *path)
{
    size_t n = 0;

    for (path += strspn(path, "/"); *path != '\0'; path += strspn(path, "/")) {
        path += strcspn(path, "/");
        n++;
    }
    return n;
}

static void add_point(struct points *points, const char *path, bool is_file)
{
    size_t depth = count_components(path);

    if (depth == 0 || depth > MOUNT_POINTS_DEPTH_MAX)
        return;
    points->items = alloc_grow(points->items, points->n_items + 1, sizeof(struct point));
    points->items[points->n_items++] = (struct point){ path, is_file, depth };
}

/* nspawn will not start for want of a source that is missing; then nothing is to stay. */
static void add_bind(struct points *points, const struct bind *bind)
{
    struct stat st;

    if (stat(bind->source, &st) >= 0)
        add_point(points, bind->target, !S_ISDIR(st.st_mode));
}

/* Those first below which others may lie. */
static int compare_depth(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    return (x->depth > y->depth) - (x->depth < y->depth);
}

static void collect(const struct binds *binds, struct points *points)
{
    for (size_t i = 0; i < sizeof(own_points) / sizeof(own_points[0]); i++)
        add_point(points, own_points[i], false);
    for (size_t i = 0; i < binds->n_items; i++)
        add_bind(points, &binds->items[i]);
    qsort(points->items, points->n_items, sizeof(struct point), compare_depth);
}

/* --- the image ------------------------------------------------------------------------------- */

/* Always from the root: only so does the kernel know where an absolute link and a ".." end. */
static int open_dir(const struct image *image, const char *path)
{
    return resolve_open(image->root_fd, path, O_PATH | O_DIRECTORY,
                        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static bool is_covered(const struct image *image, int dir_fd)
{
    struct stat st;

    if (fstat(dir_fd, &st) < 0)
        return false;
    for (size_t i = 0; i < image->n_covered; i++)
        if (image->covered[i].dev == st.st_dev && image->covered[i].ino == st.st_ino)
            return true;
    return false;
}

static void cover(struct image *image, const char *path)
{
    struct stat st;

    CLEANUP_CLOSE int fd = open_dir(image, path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    image->covered = alloc_grow(image->covered, image->n_covered + 1, sizeof(struct inode));
    image->covered[image->n_covered++] = (struct inode){ st.st_dev, st.st_ino };
}

/* --- making ---------------------------------------------------------------------------------- */

static int adopt(const struct image *image, int fd, mode_t mode)
{
    if (fchown(fd, image->root.st_uid, image->root.st_gid) < 0 || fchmod(fd, mode) < 0)
        return -errno;
    return 0;
}

static int make_dir(const struct image *image, int parent_fd, const char *name)
{
    if (mkdirat(parent_fd, name, 0755) < 0)
        return -errno;
    CLEANUP_CLOSE int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : adopt(image, fd, 0755);
}

static int make_file(const struct image *image, int parent_fd, const char *name)
{
    CLEANUP_CLOSE int fd = openat(parent_fd, name,
                                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : adopt(image, fd, 0644);
}

static int make_entry(const struct image *image, int parent_fd, const char *name, bool is_file)
{
    int r = is_file ? make_file(image, parent_fd, name) : make_dir(image, parent_fd, name);

    return r == -EEXIST || r == -EROFS ? 0 : r;
}

static int make_point(struct image *image, const struct point *point)
{
    CLEANUP_FREE char *path = alloc_strdup(point->path);
    CLEANUP_CLOSE int parent_fd = open_dir(image, "/");
    char *name = path + strspn(path, "/");

    while (parent_fd >= 0 && !is_covered(image, parent_fd)) {
        char *end = name + strcspn(name, "/"), *next = end + strspn(end, "/");
        bool is_last = *next == '\0';

        *end = '\0';
        int r = make_entry(image, parent_fd, name, is_last && point->is_file);
        if (r < 0)
            return r;
        if (is_last) {
            cover(image, path);
            return 0;
        }
        close_fd(parent_fd);
        parent_fd = open_dir(image, path);
        *end = '/';
        name = next;
    }
    return parent_fd >= 0 || parent_fd == -ENOENT ? 0 : parent_fd;
}

static int make_points(struct image *image, const char *path, const struct points *points,
                       struct fail *reterr)
{
    for (size_t i = 0; i < points->n_items; i++) {
        int r = make_point(image, &points->items[i]);
        if (r < 0)
            return fail_set(reterr, r, "cannot make the mount point '%s' in the image '%s': %s",
                            points->items[i].path, path, strerror(-r));
    }
    return 0;
}

int mount_points_make(const char *image, const struct binds *binds, struct fail *reterr)
{
    struct image opened = {};
    struct points points = {};

    CLEANUP_CLOSE int fd = open(image, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &opened.root) < 0)
        return fail_set(reterr, -errno, "cannot open the image '%s': %s", image, strerror(errno));
    if (faccessat(fd, "usr", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    opened.root_fd = fd;
    collect(binds, &points);
    int r = make_points(&opened, image, &points, reterr);
    free(points.items);
    free(opened.covered);
    return r;
}
