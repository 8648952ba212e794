#include "tasks/resources/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/cgroup.h"

static int read_kills(int dir_fd, uint64_t *ret)
{
    int r = cgroup_read_keys(dir_fd, "memory.events",
                             (const struct cgroup_key[]){{"oom_kill", ret}}, 1);
    if (r < 0)
        return r;
    return r == 0 ? -EBADMSG : 0;
}

int oom_read(const char *cgroup_path, uint64_t *ret_kills)
{
    CLEANUP_CLOSE int fd = open(cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return read_kills(fd, ret_kills);
}

struct oom_watch {
    int dir_fd;
    uint64_t kills;
    sd_event_source *source;
    oom_killed_fn killed;
    void *data;
};

static int on_memory_events(sd_event_source *source, const struct inotify_event *event, void *data)
{
    (void)source, (void)event;
    struct oom_watch *watch = data;
    uint64_t kills = watch->kills;
    int r = read_kills(watch->dir_fd, &kills);
    if (r < 0)
        log_debug("memory.events can't be read, ignoring: %s", strerror(-r));
    if (kills > watch->kills) {
        watch->kills = kills;
        watch->killed(kills, watch->data);
    }
    return 0;
}

int oom_watch_new(sd_event *event, const char *cgroup_path, oom_killed_fn killed, void *data,
                  struct oom_watch **ret)
{
    CLEANUP_CLOSE int fd = open(cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* The watch goes in before the first reading, or a kill between them would be heard of twice
     * or never. */
    CLEANUP_FREE char *file = alloc_printf("%s/memory.events", cgroup_path);
    CLEANUP(sd_event_source_disable_unrefp) sd_event_source *source = NULL;
    int r = sd_event_add_inotify(event, &source, file, IN_MODIFY, on_memory_events, NULL);
    if (r < 0)
        return r;
    uint64_t kills;
    r = read_kills(fd, &kills);
    if (r < 0)
        return r;
    struct oom_watch *watch = ALLOC_NEW(struct oom_watch);
    *watch = (struct oom_watch){
        .dir_fd = TAKE_FD(fd),
        .kills = kills,
        .source = TAKE_PTR(source),
        .killed = killed,
        .data = data,
    };
    sd_event_source_set_userdata(watch->source, watch);
    (void)sd_event_source_set_description(watch->source, "oom");
    *ret = watch;
    return 0;
}

struct oom_watch *oom_watch_free(struct oom_watch *watch)
{
    if (!watch)
        return NULL;
    sd_event_source_disable_unref(watch->source);
    close_fd(watch->dir_fd);
    free(watch);
    return NULL;
}
