#include "tasks/persist/runtime_dir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"

#define LOCK_NAME "lock"
#define ID_NAME   "id"

/* An id is "<uuid>/<task name>/<8 hex>" and Nomad bounds the name at 128. */
#define ID_BYTES_MAX 4096

struct runtime_dir {
    char *machine, *path;
    int fd, lock_fd;
    bool is_left_over;
};

struct runtime_dir_op {
    sd_event *event;
    struct runtime_dir *dir;
    bool create;
    int holder_fd; /* pidfd of the plugin that holds the lock */
    sd_event_source *turn, *holder_exit, *deadline;
    runtime_dir_taken_fn taken;
    void *data;
};

/* --- the directory --------------------------------------------------------------------------- */

static int open_root(bool create, struct fail *fail)
{
    if (create && mkdir(RUNTIME_DIR_ROOT, 0700) < 0 && errno != EEXIST)
        return fail_set_recoverable(fail, -errno, "cannot make '%s': %s", RUNTIME_DIR_ROOT,
                                    strerror(errno));
    int fd = open(RUNTIME_DIR_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_set(fail, -errno, "cannot open '%s': %s", RUNTIME_DIR_ROOT, strerror(errno));
    return fd;
}

static int open_child(int dir_fd, const char *name)
{
    return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int open_dir(struct runtime_dir *dir, bool create, struct fail *fail)
{
    CLEANUP_CLOSE int root_fd = open_root(create, fail);

    if (root_fd < 0)
        return root_fd;
    dir->is_left_over = false; /* a second try finds another one */
    if (create && mkdirat(root_fd, dir->machine, 0700) < 0) {
        if (errno != EEXIST)
            return fail_set_recoverable(fail, -errno, "cannot make '%s': %s", dir->path,
                                        strerror(errno));
        dir->is_left_over = true;
    }
    dir->fd = open_child(root_fd, dir->machine);
    if (dir->fd < 0)
        return fail_set(fail, -errno, "cannot open '%s': %s", dir->path, strerror(errno));
    dir->lock_fd = openat(dir->fd, LOCK_NAME,
                          O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (dir->lock_fd < 0)
        return fail_set(fail, -errno, "cannot open '%s/" LOCK_NAME "': %s", dir->path,
                        strerror(errno));
    return 0;
}

/* A record lock rather than flock(2), because the kernel tells who holds it. It dies with the
 * process and is not inherited; this file is opened once a task, so no other close drops it.
 * Returns 0, or the pid of the holder, or negative errno. */
static pid_t try_lock(const struct runtime_dir *dir)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(dir->lock_fd, F_SETLK, &lock) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return -errno;
    lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(dir->lock_fd, F_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type == F_UNLCK ? -EAGAIN : lock.l_pid;
}

/* The holder may have removed the directory while we waited: then the lock is one on nothing. */
static bool is_still_there(const struct runtime_dir *dir)
{
    struct stat ours, named;
    CLEANUP_FREE char *path = alloc_printf("%s/" LOCK_NAME, dir->path);

    return fstat(dir->lock_fd, &ours) == 0 && stat(path, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

int runtime_dir_fd(const struct runtime_dir *dir)
{
    return dir->fd;
}

const char *runtime_dir_path(const struct runtime_dir *dir)
{
    return dir->path;
}

bool runtime_dir_is_left_over(const struct runtime_dir *dir)
{
    return dir->is_left_over;
}

int runtime_dir_write_id(struct runtime_dir *dir, const char *id, struct fail *reterr)
{
    if (strlen(id) > ID_BYTES_MAX)
        return fail_set(reterr, -EINVAL, "the task's id has %zu bytes, which is too long; at most "
                        "%d are taken", strlen(id), ID_BYTES_MAX);
    CLEANUP_FREE char *path = alloc_printf("%s/" ID_NAME, dir->path);
    int r = file_write(path, id, strlen(id), 0600);
    if (r < 0)
        return fail_set_recoverable(reterr, r, "cannot write '%s/" ID_NAME "': %s", dir->path,
                                    strerror(-r));
    return 0;
}

char *runtime_dir_read_id(const struct runtime_dir *dir)
{
    char *id = NULL;

    (void)file_read(dir->fd, ID_NAME, O_NOFOLLOW, ID_BYTES_MAX, &id, NULL);
    return id;
}

/* Calls `take` for each entry of a directory, which closes it. */
static void remove_each(int fd, void (*take)(int dir_fd, const char *name))
{
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;

    if (entries == NULL) {
        (void)close_fd(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            take(dirfd(entries), entry->d_name);
    (void)closedir(entries);
}

static void remove_file(int dir_fd, const char *name)
{
    (void)unlinkat(dir_fd, name, 0);
}

/* What others keep in here is files, and directories of files. */
static void remove_entry(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno != EISDIR)
        return;
    remove_each(open_child(dir_fd, name), remove_file);
    (void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void runtime_dir_remove(struct runtime_dir *dir)
{
    remove_each(open_child(dir->fd, "."), remove_entry);
    if (rmdir(dir->path) < 0 && errno != ENOENT)
        log_warn("cannot remove '%s': %s, ignoring", dir->path, strerror(errno));
}

struct runtime_dir *runtime_dir_free(struct runtime_dir *dir)
{
    if (dir == NULL)
        return NULL;
    (void)close_fd(dir->fd);
    (void)close_fd(dir->lock_fd);
    free(dir->machine);
    free(dir->path);
    free(dir);
    return NULL;
}

static struct runtime_dir *dir_new(const char *machine)
{
    struct runtime_dir *dir = ALLOC_NEW(struct runtime_dir);

    dir->fd = -EBADF;
    dir->lock_fd = -EBADF;
    dir->machine = alloc_strdup(machine);
    dir->path = alloc_printf(RUNTIME_DIR_ROOT "/%s", machine);
    return dir;
}

/* --- taking it ------------------------------------------------------------------------------- */

static void end_op(struct runtime_dir_op *op, struct fail *fail)
{
    runtime_dir_taken_fn taken = op->taken;
    void *data = op->data;
    struct runtime_dir *dir = fail->error < 0 ? NULL : TAKE_PTR(op->dir);

    runtime_dir_op_free(op);
    taken(dir, fail->error < 0 ? fail : NULL, data);
}

static void rearm(struct runtime_dir_op *op)
{
    int r = sd_event_source_set_enabled(op->turn, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static int on_holder_exit(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct runtime_dir_op *op = data;

    (void)source;
    (void)fd;
    (void)events;
    op->holder_exit = sd_event_source_disable_unref(op->holder_exit);
    op->holder_fd = close_fd(op->holder_fd);
    rearm(op);
    return 0;
}

static int await_holder(struct runtime_dir_op *op, pid_t holder, struct fail *fail)
{
    log_debug("'%s' is held by the plugin with pid %d; waiting for its end", op->dir->path, holder);
    op->holder_fd = pidfd_open(holder, 0);
    if (op->holder_fd < 0 && errno == ESRCH) {
        rearm(op);
        return 0;
    }
    int r = op->holder_fd < 0 ? -errno
                              : sd_event_add_io(op->event, &op->holder_exit, op->holder_fd, EPOLLIN,
                                                on_holder_exit, op);
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot wait for the plugin with pid %d: %s", holder,
                                    strerror(-r));
    (void)sd_event_source_set_description(op->holder_exit, "runtime-dir-holder");
    return 0;
}

static int try_take(struct runtime_dir_op *op, bool *ret_taken, struct fail *fail)
{
    struct runtime_dir *dir = op->dir;

    if (dir->fd < 0) {
        int r = open_dir(dir, op->create, fail);
        if (r < 0)
            return r;
    }
    pid_t holder = try_lock(dir);
    if (holder == -EAGAIN) {
        rearm(op);
        return 0;
    }
    if (holder < 0)
        return fail_set_recoverable(fail, holder, "cannot lock '%s': %s", dir->path,
                                    strerror(-holder));
    if (holder > 0)
        return await_holder(op, holder, fail);
    if (!is_still_there(dir)) {
        dir->lock_fd = close_fd(dir->lock_fd);
        dir->fd = close_fd(dir->fd);
        rearm(op);
        return 0;
    }
    *ret_taken = true;
    return 0;
}

static int on_turn(sd_event_source *source, void *data)
{
    struct runtime_dir_op *op = data;
    CLEANUP_FAIL struct fail fail = {};
    bool taken = false;

    (void)source;
    int r = try_take(op, &taken, &fail);
    if (r < 0 || taken)
        end_op(op, &fail);
    return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *data)
{
    struct runtime_dir_op *op = data;
    CLEANUP_FAIL struct fail fail = {};

    (void)source;
    (void)usec;
    (void)fail_set_recoverable(&fail, -EBUSY,
                               "'%s' is held by another plugin process that does not end",
                               op->dir->path);
    end_op(op, &fail);
    return 0;
}

struct runtime_dir_op *runtime_dir_take(sd_event *event, const char *machine, bool create,
                                        runtime_dir_taken_fn taken, void *data)
{
    struct runtime_dir_op *op = ALLOC_NEW(struct runtime_dir_op);

    op->event = event;
    op->dir = dir_new(machine);
    op->create = create;
    op->holder_fd = -EBADF;
    op->taken = taken;
    op->data = data;
    int r = sd_event_add_defer(event, &op->turn, on_turn, op);
    assert(r >= 0);
    (void)sd_event_source_set_description(op->turn, "runtime-dir");
    r = sd_event_add_time_relative(event, &op->deadline, CLOCK_MONOTONIC,
                                   RUNTIME_DIR_LOCK_WAIT_USEC, 0, on_deadline, op);
    assert(r >= 0);
    (void)sd_event_source_set_description(op->deadline, "runtime-dir-deadline");
    return op;
}

struct runtime_dir_op *runtime_dir_op_free(struct runtime_dir_op *op)
{
    if (op == NULL)
        return NULL;
    op->turn = sd_event_source_disable_unref(op->turn);
    op->holder_exit = sd_event_source_disable_unref(op->holder_exit);
    op->deadline = sd_event_source_disable_unref(op->deadline);
    (void)close_fd(op->holder_fd);
    runtime_dir_free(op->dir);
    free(op);
    return NULL;
}
