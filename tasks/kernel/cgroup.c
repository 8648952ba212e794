#include "tasks/kernel/cgroup.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/vfs.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"

/* memory.stat, the longest file that is read here, has some 60 lines and 1.5 KiB. */
#define CGROUP_FILE_BYTES_MAX ((size_t)8192)

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
static int read_text(int dir_fd, const char *file, char **ret)
{
    char *text;
    size_t n;
    int r = file_read_begin(dir_fd, file, 0, CGROUP_FILE_BYTES_MAX, &text, &n);
    if (r < 0)
        return r;
    if (n == CGROUP_FILE_BYTES_MAX) {
        char *end = strrchr(text, '\n');
        *(end ? end + 1 : text) = '\0';
    }
    *ret = text;
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
    CLEANUP_FREE char *text = NULL;
    int r = read_text(dir_fd, file, &text);
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
    CLEANUP_FREE char *text = NULL;
    int found = read_text(dir_fd, file, &text);
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
