#include "tasks/mounts/ownership.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/mounts/owner_shift.h"
#include "tasks/mounts/ownership_walk.h"

#define FOLLOWED (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_ONLYDIR)
#define APPEARED (IN_CREATE | IN_MOVED_TO)
#define LOST     (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT)

#define SECOND_USEC UINT64_C(1000000)

/* Opening a directory counts as so many entries. It is more work than an entry, and sd-event keeps
 * a descriptor of each that was followed until the turn ends. */
#define DIR_COST 16

/* Known by path and inode, and opened for each use: a descriptor kept open would keep Nomad from
 * unmounting the secrets. */
struct root {
    char *path;
    dev_t dev;
    ino_t ino;
};

struct watch {
    struct ownership *ownership;
    size_t root;
    char *path; /* below the root, as it was walked last: it may have moved */
    dev_t dev;
    ino_t ino;
    sd_event_source *source;
};

struct ownership {
    sd_event *event;
    struct root *roots;
    size_t n_roots;
    uid_t base;
    ownership_ready_fn ready; /* NULL once called */
    void *data;
    struct fail fail; /* the first of the first walk */

    struct ownership_walk walk;
    sd_event_source *turn; /* on while there is something to walk */
    bool must_walk_again;  /* from the top, when this walk has ended */

    struct watch **watches;
    size_t n_watches;
    bool is_paused; /* nothing is followed until `resume` */
    sd_event_source *resume;
    uint64_t second_usec; /* in which events are counted */
    unsigned n_events;

    bool was_limit_told, was_failure_told;
};

/* --- failures -------------------------------------------------------------------------------- */

static void note(struct ownership *ownership, size_t root, const char *path, int error)
{
    const char *dir = ownership->roots[root].path;

    if (owner_shift_is_gone(error))
        return;
    if (ownership->ready != NULL) {
        fail_set(&ownership->fail, error, "cannot give '%s/%s' to the container: %s", dir, path,
                 strerror(-error));
        return;
    }
    if (!ownership->was_failure_told)
        log_warn("cannot give '%s/%s' to the container, ignoring this and others: %s", dir, path,
                 strerror(-error));
    ownership->was_failure_told = true;
}

/* --- directories ----------------------------------------------------------------------------- */

static int open_root(const struct root *root, struct stat *ret)
{
    CLEANUP_CLOSE int fd = open(root->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, ret) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int open_dir(const struct ownership *ownership, size_t root, const char *path)
{
    const struct root *r = &ownership->roots[root];
    struct stat st;

    CLEANUP_CLOSE int fd = open_root(r, &st);
    if (fd < 0)
        return fd;
    if (st.st_dev != r->dev || st.st_ino != r->ino)
        return -ESTALE;
    return owner_shift_open_dir(fd, path);
}

static void push(struct ownership *ownership, size_t root, char *path)
{
    if (ownership_walk_push(&ownership->walk, root, path))
        (void)sd_event_source_set_enabled(ownership->turn, SD_EVENT_ON);
}

/* A walk that goes on is let come to its end: else a flood of events could keep `ready` back. */
static void walk_all(struct ownership *ownership)
{
    ownership->must_walk_again = ownership_walk_top(&ownership->walk) != NULL;
    if (ownership->must_walk_again)
        return;
    for (size_t i = ownership->n_roots; i > 0; i--)
        push(ownership, i - 1, alloc_strdup("."));
}

/* A directory of which an event tells. The depth of the list is the walk's own. */
static void push_appeared(struct ownership *ownership, size_t root, const char *path)
{
    if (ownership_walk_is_crowded(&ownership->walk))
        ownership->must_walk_again = true;
    else
        push(ownership, root, alloc_strdup(path));
}

/* Answers whether it is a directory. */
static bool shift_entry(struct ownership *ownership, size_t root, const char *dir, int dir_fd,
                        const char *name)
{
    bool is_dir = false;

    int r = owner_shift_entry(dir_fd, name, ownership->base, &is_dir);
    if (r < 0 && !owner_shift_is_gone(r)) {
        CLEANUP_FREE char *path = ownership_walk_join(dir, name);
        note(ownership, root, path, r);
    }
    return is_dir;
}

/* --- following ------------------------------------------------------------------------------- */

static void watch_free(struct watch *watch)
{
    sd_event_source_disable_unref(watch->source);
    free(watch->path);
    free(watch);
}

static struct watch *find_watch(const struct ownership *ownership, const struct stat *st)
{
    for (size_t i = 0; i < ownership->n_watches; i++) {
        struct watch *watch = ownership->watches[i];
        if (watch->ino == st->st_ino && watch->dev == st->st_dev)
            return watch;
    }
    return NULL;
}

static void drop_watch(struct watch *watch)
{
    struct ownership *ownership = watch->ownership;

    for (size_t i = 0; i < ownership->n_watches; i++) {
        if (ownership->watches[i] == watch) {
            ownership->watches[i] = ownership->watches[--ownership->n_watches];
            break;
        }
    }
    watch_free(watch);
}

static void drop_watches(struct ownership *ownership)
{
    for (size_t i = 0; i < ownership->n_watches; i++)
        watch_free(ownership->watches[i]);
    ownership->n_watches = 0;
    free(ownership->watches);
    ownership->watches = NULL;
}

static void pause_following(struct ownership *ownership)
{
    drop_watches(ownership);
    ownership->is_paused = true;
    (void)sd_event_source_set_time_relative(ownership->resume, SECOND_USEC);
    (void)sd_event_source_set_enabled(ownership->resume, SD_EVENT_ONESHOT);
}

static int on_second_over(sd_event_source *source, uint64_t usec, void *data)
{
    struct ownership *ownership = data;

    (void)source, (void)usec;
    ownership->is_paused = false;
    ownership->n_events = 0;
    walk_all(ownership);
    return 0;
}

/* Counts an event; answers whether there were too many. */
static bool is_flooded(struct ownership *ownership)
{
    uint64_t now = 0;

    (void)sd_event_now(ownership->event, CLOCK_MONOTONIC, &now);
    if (now - ownership->second_usec >= SECOND_USEC) {
        ownership->second_usec = now;
        ownership->n_events = 0;
    }
    return ++ownership->n_events > OWNERSHIP_EVENTS_MAX;
}

static void handle_change(struct watch *watch, const char *name, bool has_appeared)
{
    struct ownership *ownership = watch->ownership;

    CLEANUP_CLOSE int fd = open_dir(ownership, watch->root, watch->path);
    int r = fd < 0 ? fd : name == NULL ? owner_shift_fd(fd, ownership->base) : 0;
    if (r < 0) {
        note(ownership, watch->root, watch->path, r);
        return;
    }
    if (name == NULL)
        return;
    bool is_dir = shift_entry(ownership, watch->root, watch->path, fd, name);
    if (is_dir && has_appeared) {
        CLEANUP_FREE char *path = ownership_walk_join(watch->path, name);
        push_appeared(ownership, watch->root, path);
    }
}

/* Another directory may be there by now, with the same inode number: it was taken for this one. */
static void handle_lost(struct watch *watch)
{
    push_appeared(watch->ownership, watch->root, watch->path);
    drop_watch(watch);
}

static int on_event(sd_event_source *source, const struct inotify_event *event, void *data)
{
    struct watch *watch = data;

    (void)source;
    if (is_flooded(watch->ownership) || (event->mask & IN_Q_OVERFLOW) != 0)
        pause_following(watch->ownership);
    else if ((event->mask & LOST) != 0)
        handle_lost(watch);
    else
        handle_change(watch, event->len > 0 ? event->name : NULL, (event->mask & APPEARED) != 0);
    return 0;
}

/* sd-event shares one inotify descriptor among all: a user may have 128 only. */
static int add_watch(struct ownership *ownership, int fd, struct watch **ret)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    struct watch *watch = ALLOC_NEW(struct watch);
    *watch = (struct watch){ .ownership = ownership, .dev = st.st_dev, .ino = st.st_ino };
    int r = sd_event_add_inotify_fd(ownership->event, &watch->source, fd, FOLLOWED, on_event,
                                    watch);
    if (r < 0) {
        watch_free(watch);
        return r;
    }
    (void)sd_event_source_set_description(watch->source, "ownership");
    *ret = watch;
    return 0;
}

static bool can_follow(const struct ownership *ownership)
{
    return !ownership->is_paused && ownership->n_watches < OWNERSHIP_WATCHES_MAX;
}

static void follow(struct ownership *ownership, const struct ownership_walk_dir *dir, int fd)
{
    struct watch *watch = NULL;

    int r = add_watch(ownership, fd, &watch);
    if (r < 0) {
        if (!ownership->was_limit_told)
            log_warn("cannot follow changes in '%s/%s', ignoring this and others: %s",
                     ownership->roots[dir->root].path, dir->path, strerror(-r));
        ownership->was_limit_told = true;
        return;
    }
    assert(watch != NULL);
    watch->root = dir->root;
    watch->path = alloc_strdup(dir->path);
    ownership->watches = alloc_grow(ownership->watches, ownership->n_watches + 1,
                                    sizeof(struct watch *));
    ownership->watches[ownership->n_watches++] = watch;
}

/* --- walking --------------------------------------------------------------------------------- */

struct reading {
    struct ownership *ownership;
    const struct ownership_walk_dir *dir;
    int fd;
    bool found_dir;
};

static void on_entry(const char *name, void *data)
{
    struct reading *reading = data;
    const struct ownership_walk_dir *dir = reading->dir;

    if (!shift_entry(reading->ownership, dir->root, dir->path, reading->fd, name) || !dir->descends)
        return;
    push(reading->ownership, dir->root, ownership_walk_join(dir->path, name));
    reading->found_dir = true;
}

static bool has_room(void *data)
{
    const struct reading *reading = data;

    return !reading->found_dir || !ownership_walk_is_crowded(&reading->ownership->walk);
}

/* A directory that will be followed is read twice: first all is shifted, without an event for each
 * change of ours; then it is followed; then what came in between is shifted, too. */
static int open_first(struct ownership *ownership, struct ownership_walk_dir *dir, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    struct watch *watch = find_watch(ownership, &st);
    if (watch != NULL) {
        free(watch->path);
        watch->path = alloc_strdup(dir->path);
        watch->root = dir->root;
    }
    dir->was_opened = true;
    dir->descends = watch != NULL || !can_follow(ownership);
    /* A root is an entry of nothing that is read. */
    return owner_shift_fd(fd, ownership->base);
}

static void finish_reading(struct ownership *ownership, struct ownership_walk_dir *dir, int fd)
{
    if (dir->descends) {
        dir->is_done = true;
        return;
    }
    dir->descends = true;
    dir->position = 0;
    if (can_follow(ownership))
        follow(ownership, dir, fd);
}

static int read_dir(struct ownership *ownership, struct ownership_walk_dir *dir, size_t n_max,
                    size_t *n_seen)
{
    CLEANUP_CLOSE int fd = open_dir(ownership, dir->root, dir->path);
    if (fd < 0)
        return fd;
    int r = dir->was_opened ? 0 : open_first(ownership, dir, fd);
    if (r < 0)
        return r;
    struct reading reading = { .ownership = ownership, .dir = dir, .fd = fd };
    r = ownership_walk_read(dir, fd, n_max, on_entry, has_room, &reading, n_seen);
    if (r == 0)
        finish_reading(ownership, dir, fd);
    return r;
}

static void become_ready(struct ownership *ownership)
{
    ownership_ready_fn ready = TAKE_PTR(ownership->ready);
    CLEANUP_FAIL struct fail fail = {};

    fail_move(&fail, &ownership->fail);
    ready(fail.error < 0 ? &fail : NULL, ownership->data);
}

static void finish_walk(struct ownership *ownership)
{
    (void)sd_event_source_set_enabled(ownership->turn, SD_EVENT_OFF);
    if (ownership->must_walk_again)
        walk_all(ownership);
    if (ownership->ready != NULL)
        become_ready(ownership); /* and may be gone */
}

static int on_turn(sd_event_source *source, void *data)
{
    struct ownership *ownership = data;
    struct ownership_walk_dir *dir = NULL;
    size_t n_left = OWNERSHIP_BATCH_MAX;

    (void)source;
    while ((dir = ownership_walk_top(&ownership->walk)) != NULL && n_left > DIR_COST) {
        size_t n_seen = 0;
        n_left -= DIR_COST;
        int r = read_dir(ownership, dir, n_left, &n_seen);
        n_left -= n_seen;
        if (r < 0) {
            note(ownership, dir->root, dir->path, r);
            dir->is_done = true;
        }
    }
    if (dir == NULL)
        finish_walk(ownership);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static int add_root(struct ownership *ownership, const char *path, struct fail *reterr)
{
    struct root *root = &ownership->roots[ownership->n_roots];
    struct watch *watch = NULL;
    struct stat st;

    root->path = alloc_strdup(path);
    ownership->n_roots++;
    CLEANUP_CLOSE int fd = open_root(root, &st);
    if (fd < 0)
        return fail_set(reterr, fd, "cannot open '%s': %s", path, strerror(-fd));
    root->dev = st.st_dev;
    root->ino = st.st_ino;

    /* It is followed once it was read: here it is only seen that it can be. */
    int r = add_watch(ownership, fd, &watch);
    if (r < 0)
        return fail_set(reterr, r, "cannot follow changes in '%s': %s", path, strerror(-r));
    watch_free(watch);
    return 0;
}

static int add_sources(struct ownership *ownership, struct fail *reterr)
{
    int r = sd_event_add_defer(ownership->event, &ownership->turn, on_turn, ownership);
    if (r >= 0)
        r = sd_event_add_time_relative(ownership->event, &ownership->resume, CLOCK_MONOTONIC,
                                       SECOND_USEC, 0, on_second_over, ownership);
    if (r < 0)
        return fail_set(reterr, r, "cannot watch the task's directories: %s", strerror(-r));
    (void)sd_event_source_set_description(ownership->turn, "ownership walk");
    (void)sd_event_source_set_description(ownership->resume, "ownership resume");
    (void)sd_event_source_set_enabled(ownership->turn, SD_EVENT_ON);
    (void)sd_event_source_set_enabled(ownership->resume, SD_EVENT_OFF);
    return 0;
}

int ownership_new(sd_event *event, const struct strv *dirs, uid_t base, ownership_ready_fn ready,
                  void *data, struct ownership **ret, struct fail *reterr)
{
    if (!owner_shift_base_is_valid(base))
        return fail_set(reterr, -EINVAL, "%u is not the first user of a range", base);

    struct ownership *ownership = ALLOC_NEW(struct ownership);
    *ownership = (struct ownership){
        .event = sd_event_ref(event), .base = base, .ready = ready, .data = data,
        .roots = alloc_zero(dirs->n_items + 1, sizeof(struct root)),
    };
    int r = add_sources(ownership, reterr);
    for (size_t i = 0; r >= 0 && i < dirs->n_items; i++)
        r = add_root(ownership, dirs->items[i], reterr);
    if (r < 0) {
        ownership_free(ownership);
        return r;
    }
    walk_all(ownership);
    *ret = ownership;
    return 0;
}

struct ownership *ownership_free(struct ownership *ownership)
{
    if (ownership == NULL)
        return NULL;
    drop_watches(ownership);
    ownership_walk_clear(&ownership->walk);
    sd_event_source_disable_unref(ownership->turn);
    sd_event_source_disable_unref(ownership->resume);
    for (size_t i = 0; i < ownership->n_roots; i++)
        free(ownership->roots[i].path);
    free(ownership->roots);
    fail_done(&ownership->fail);
    sd_event_unref(ownership->event);
    free(ownership);
    return NULL;
}
