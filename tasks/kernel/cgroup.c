#include "tasks/kernel/cgroup.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"

/* memory.stat, the longest file that is read here, has some 60 lines and 1.5 KiB. */
#define CGROUP_FILE_BYTES_MAX 8192

static const char *const cgroup_roots[CGROUP_VERSION_MAX] = {
    [CGROUP_VERSION_HYBRID] = "/sys/fs/cgroup/unified",
    [CGROUP_VERSION_V2] = "/sys/fs/cgroup",
};

static const char *const cgroup_names[CGROUP_VERSION_MAX] = {
    [CGROUP_VERSION_NONE] = "none",
    [CGROUP_VERSION_HYBRID] = "hybrid",
    [CGROUP_VERSION_V2] = "v2",
};

const char *cgroup_version_name(enum cgroup_version version)
{
    assert(version < CGROUP_VERSION_MAX);
    return cgroup_names[version];
}

static bool is_cgroup2(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

enum cgroup_version cgroup_version(void)
{
    for (enum cgroup_version v = CGROUP_VERSION_MAX - 1; v > CGROUP_VERSION_NONE; v--)
        if (is_cgroup2(cgroup_roots[v]))
            return v;
    return CGROUP_VERSION_NONE;
}

char *cgroup_path(const char *control_group)
{
    const char *root = cgroup_roots[cgroup_version()];
    return root ? alloc_printf("%s%s", root, control_group) : NULL;
}

/* --- files ----------------------------------------------------------------------------------- */

/* Of a longer file the beginning, but no half of a line: it might end in half of a number. */
static int read_text(int dir_fd, const char *file, char text[static CGROUP_FILE_BYTES_MAX])
{
    CLEANUP_CLOSE int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, CGROUP_FILE_BYTES_MAX - 1);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    if (n == CGROUP_FILE_BYTES_MAX - 1) {
        char *end = strrchr(text, '\n');
        *(end ? end + 1 : text) = '\0';
    }
    return 0;
}

/* Digits, then the end of the text or of the line. Counters are at most 20 digits; one that does
 * not fit is not a counter. */
static int parse_number(const char *text, uint64_t *ret)
{
    uint64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return -EBADMSG;
    if (p == text || (*p != '\0' && *p != '\n'))
        return -EBADMSG;
    *ret = n;
    return 0;
}

int cgroup_read_number(int dir_fd, const char *file, uint64_t *ret)
{
    char text[CGROUP_FILE_BYTES_MAX];
    int r = read_text(dir_fd, file, text);
    if (r < 0)
        return r;
    if (strcmp(text, "max\n") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    return parse_number(text, ret);
}

static int read_line(const char *line, const struct cgroup_key *keys, unsigned n_keys)
{
    size_t length = strcspn(line, " \n");
    if (line[length] != ' ')
        return 0;
    for (unsigned i = 0; i < n_keys; i++)
        if (strlen(keys[i].name) == length && memcmp(keys[i].name, line, length) == 0)
            return parse_number(line + length + 1, keys[i].ret) < 0 ? -EBADMSG : 1 << i;
    return 0;
}

int cgroup_read_keys(int dir_fd, const char *file, const struct cgroup_key *keys, unsigned n_keys)
{
    assert(n_keys <= 16);
    char text[CGROUP_FILE_BYTES_MAX];
    int found = read_text(dir_fd, file, text);
    if (found < 0)
        return found;
    for (const char *line = text; *line;) {
        int r = read_line(line, keys, n_keys);
        if (r < 0)
            return r;
        found |= r;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return found;
}

/* --- out of memory --------------------------------------------------------------------------- */

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
