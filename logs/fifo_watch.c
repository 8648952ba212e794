#include "logs/fifo_watch.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct fifo_watch {
    char *name;
    sd_event_source *file, *directory;
    fifo_changed_fn changed;
    void *data;
};

static int on_file(sd_event_source *source, const struct inotify_event *event, void *data)
{
    struct fifo_watch *watch = data;

    (void)source;
    (void)event;
    watch->changed(watch->data);
    return 0;
}

/* Without a name it is about the directory itself or about lost events: look. */
static int on_directory(sd_event_source *source, const struct inotify_event *event, void *data)
{
    struct fifo_watch *watch = data;

    (void)source;
    if (event->len == 0 || strcmp(event->name, watch->name) == 0)
        watch->changed(watch->data);
    return 0;
}

static int watch_file(struct fifo_watch *watch, sd_event *event, const char *path)
{
    int r = sd_event_add_inotify(event, &watch->file, path, IN_OPEN | IN_DONT_FOLLOW, on_file,
                                 watch);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return sd_event_source_set_description(watch->file, "log-collector-opens");
}

static int watch_directory(struct fifo_watch *watch, sd_event *event, const char *path)
{
    CLEANUP_FREE char *copy = alloc_strdup(path);
    int r = sd_event_add_inotify(event, &watch->directory, dirname(copy),
                                 IN_CREATE | IN_MOVED_TO | IN_ONLYDIR, on_directory, watch);
    if (r < 0)
        return r;
    return sd_event_source_set_description(watch->directory, "log-fifo-appears");
}

int fifo_watch_new(sd_event *event, const char *path, fifo_changed_fn changed, void *data,
                   struct fifo_watch **ret)
{
    CLEANUP_FREE char *copy = alloc_strdup(path);
    struct fifo_watch *watch = ALLOC_NEW(struct fifo_watch);

    *watch = (struct fifo_watch){
        .name = alloc_strdup(basename(copy)), .changed = changed, .data = data
    };
    int r = watch_directory(watch, event, path);
    if (r >= 0)
        r = watch_file(watch, event, path);
    if (r < 0) {
        fifo_watch_free(watch);
        return r;
    }
    *ret = watch;
    return 0;
}

struct fifo_watch *fifo_watch_free(struct fifo_watch *watch)
{
    if (watch == NULL)
        return NULL;
    sd_event_source_disable_unref(watch->file);
    sd_event_source_disable_unref(watch->directory);
    free(watch->name);
    free(watch);
    return NULL;
}
