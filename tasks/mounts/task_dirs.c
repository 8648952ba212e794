#include "tasks/mounts/task_dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/idmap.h"

/* The users that systemd keeps for containers (its UIDS-GIDS document), in ranges as nspawn's
 * own. */
#define BASE_MIN  UINT32_C(0x00080000)
#define BASE_MAX  UINT32_C(0x6fff0000)
#define BASE_STEP UINT32_C(0x00010000)
#define N_BASES   ((BASE_MAX - BASE_MIN) / BASE_STEP + 1)

/* nspawn holds a lock (F_OFD_SETLK) on a file of the range's name here while a container has the
 * range. */
#define LOCK_DIR "/run/systemd/nspawn-uid"

/* Ranges looked at before giving up: with so many allocations on a node, ranges are not the
 * limit. */
#define BASES_TRIED_MAX 1024

/* --- paths ----------------------------------------------------------------------------------- */

static bool is_component(const char *name)
{
    return name != NULL && *name != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* What can be a mount point: absolute, below the root, and without a way back up. */
static bool is_target(const char *path)
{
    bool is_below = false;

    if (*path != '/')
        return false;
    for (const char *at = path; *at != '\0';) {
        at += strspn(at, "/");
        size_t n = strcspn(at, "/");
        if (n == 2 && at[0] == '.' && at[1] == '.')
            return false;
        is_below = is_below || (n > 0 && !(n == 1 && *at == '.'));
        at += n;
    }
    return is_below;
}

static int check_spec(const struct task_spec *spec, struct fail *reterr)
{
    if (spec->alloc_dir == NULL || *spec->alloc_dir != '/')
        return fail_set(reterr, -EINVAL, "alloc_dir '%s': expected an absolute path",
                        spec->alloc_dir != NULL ? spec->alloc_dir : "");
    if (!is_component(spec->name))
        return fail_set(reterr, -EINVAL,
                        "the task's name '%s' can't be that of its directory: expected one without "
                        "'/'",
                        spec->name != NULL ? spec->name : "");
    return 0;
}

/* --- which range ----------------------------------------------------------------------------- */

static bool is_base(uid_t uid)
{
    return uid >= BASE_MIN && uid <= BASE_MAX && uid % BASE_STEP == 0;
}

/* The range that a directory belongs to by now, 0: none. */
static uid_t base_of(int dir_fd, const char *path)
{
    struct stat st;

    if (fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    uid_t base = st.st_uid - st.st_uid % BASE_STEP;
    return is_base(base) ? base : 0;
}

static void closedir_ptr(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

static DIR *open_dir_at(int dir_fd, const char *path)
{
    CLEANUP_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *dir = fdopendir(fd);
    if (dir != NULL)
        (void)TAKE_FD(fd);
    return dir;
}

/* Whether an allocation's directories, `path` below `dir_fd`, were given to the range `base`. */
static bool alloc_has_base(int dir_fd, const char *path, uid_t base)
{
    CLEANUP(closedir_ptr) DIR *dir = open_dir_at(dir_fd, path);
    const struct dirent *entry;

    if (dir == NULL)
        return false;
    if (base_of(dirfd(dir), "alloc") == base)
        return true;
    while ((entry = readdir(dir)) != NULL) {
        if (!is_component(entry->d_name))
            continue;
        CLEANUP_FREE char *secrets = alloc_printf("%s/secrets", entry->d_name);
        CLEANUP_FREE char *local = alloc_printf("%s/local", entry->d_name);
        if (base_of(dirfd(dir), secrets) == base || base_of(dirfd(dir), local) == base)
            return true;
    }
    return false;
}

/* Other allocations stand beside this one, and their directories tell which range they have: no
 * register is needed, and none can be stale. */
static bool is_others(const char *alloc_dir, uid_t base)
{
    CLEANUP_FREE char *parent = alloc_strdup(alloc_dir);
    size_t n = strlen(parent);

    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = '\0';
    const char *slash = strrchr(parent, '/');
    CLEANUP_FREE char *own = alloc_strdup(slash + 1);
    parent[slash - parent + 1] = '\0';

    CLEANUP(closedir_ptr) DIR *dir = open_dir_at(AT_FDCWD, parent);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (is_component(entry->d_name) && strcmp(entry->d_name, own) != 0 &&
            alloc_has_base(dirfd(dir), entry->d_name, base))
            return true;
    return false;
}

static bool is_locked(uid_t base)
{
    CLEANUP_FREE char *path = alloc_printf(LOCK_DIR "/%u", base);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

/* Where the search begins is told by the allocation's id, so that its tasks, started at the same
 * time, come to the same range, and different allocations hardly ever to one. */
static uint32_t first_index(const char *alloc_id)
{
    uint32_t value = UINT32_C(0x811c9dc5); /* FNV-1a */

    for (const char *c = alloc_id; *c != '\0'; c++)
        value = (value ^ (unsigned char)*c) * UINT32_C(0x01000193);
    return value % N_BASES;
}

static int choose_base(const struct task_spec *spec, const struct strv *shifted, uid_t *ret,
                       struct fail *reterr)
{
    for (size_t i = 0; i < shifted->n_items; i++)
        if ((*ret = base_of(AT_FDCWD, shifted->items[i])) != 0)
            return 0;
    uint32_t first = first_index(spec->alloc_id != NULL ? spec->alloc_id : spec->alloc_dir);
    for (uint32_t i = 0; i < BASES_TRIED_MAX; i++) {
        uid_t base = BASE_MIN + (first + i) % N_BASES * BASE_STEP;
        if (is_locked(base) || is_others(spec->alloc_dir, base))
            continue;
        *ret = base;
        return 0;
    }
    return fail_set_recoverable(reterr, -EBUSY,
                                "no range of users is free for the task's user namespace; stop "
                                "other containers, or set user_namespacing = false");
}

/* --- the directories ------------------------------------------------------------------------- */

struct make {
    struct task_dirs *dirs;
    bool user_namespace;
};

static int check_dir(const char *source, struct fail *reterr)
{
    struct stat st;

    if (lstat(source, &st) < 0)
        return fail_set(reterr, -errno, "the task's directory '%s': %s", source, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return fail_set(reterr, -ENOTDIR, "the task's directory '%s' is no directory", source);
    return 0;
}

/* How the owners of what is in `source` are to look right, and where that needs work on the
 * host. */
static enum bind_map decide_map(const struct make *make, const char *source)
{
    if (!make->user_namespace)
        return BIND_MAP_NONE;
    if (idmap_try(source) >= 0)
        return BIND_MAP_IDMAP;
    strv_push(&make->dirs->shifted, source);
    return BIND_MAP_NONE;
}

/* Without submounts: an image that was downloaded into the task's directory is one while it runs,
 * and would show itself inside itself. */
static int add_bind(const struct make *make, const char *source, const char *target, bool read_only,
                    enum bind_map map, struct fail *reterr)
{
    struct bind_how how = { .read_only = read_only, .map = map, .without_submounts = true };

    return binds_add(&make->dirs->binds, BIND_OWNER_TASK_DIR, source, target, how, reterr);
}

static int add_dir(const struct make *make, const char *source, const char *variable,
                   const char *target, enum bind_map *ret_map, struct fail *reterr)
{
    if (!is_target(target))
        return fail_set(reterr, -EINVAL,
                        "%s is '%s': expected an absolute path below '/' in the container",
                        variable, target);
    int r = check_dir(source, reterr);
    if (r < 0)
        return r;
    *ret_map = decide_map(make, source);
    return add_bind(make, source, target, false, *ret_map, reterr);
}

/* Nomad's log files are the agent's to write. They lie inside the alloc directory, so what becomes
 * of that one's owners becomes of theirs. */
static int add_logs(const struct make *make, const char *source, const char *target,
                    enum bind_map map, struct fail *reterr)
{
    CLEANUP_FREE char *logs_source = alloc_printf("%s/logs", source);
    CLEANUP_FREE char *logs_target = alloc_printf("%s/logs", target);

    if (check_dir(logs_source, NULL) < 0)
        return 0;
    return add_bind(make, logs_source, logs_target, true, map, reterr);
}

static int add_dirs(const struct make *make, const struct task_spec *spec, struct fail *reterr)
{
    CLEANUP_FREE char *alloc = alloc_printf("%s/alloc", spec->alloc_dir);
    CLEANUP_FREE char *local = alloc_printf("%s/%s/local", spec->alloc_dir, spec->name);
    CLEANUP_FREE char *secrets = alloc_printf("%s/%s/secrets", spec->alloc_dir, spec->name);
    const struct {
        const char *source, *variable;
        bool has_logs;
    } rows[] = {
        { alloc, "NOMAD_ALLOC_DIR", true },
        { local, "NOMAD_TASK_DIR", false },
        { secrets, "NOMAD_SECRETS_DIR", false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *target = pairs_get(&spec->env, rows[i].variable);
        enum bind_map map = BIND_MAP_NONE;
        if (target == NULL || *target == '\0')
            continue;
        int r = add_dir(make, rows[i].source, rows[i].variable, target, &map, reterr);
        if (r >= 0 && rows[i].has_logs)
            r = add_logs(make, rows[i].source, target, map, reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

int task_dirs_make(const struct task_spec *spec, bool user_namespace, struct task_dirs *ret,
                   struct fail *reterr)
{
    CLEANUP(task_dirs_done) struct task_dirs dirs = {};
    struct make make = { .dirs = &dirs, .user_namespace = user_namespace };

    int r = check_spec(spec, reterr);
    if (r >= 0)
        r = add_dirs(&make, spec, reterr);
    if (r >= 0 && dirs.shifted.n_items > 0)
        r = choose_base(spec, &dirs.shifted, &dirs.base, reterr);
    if (r < 0)
        return r;
    *ret = dirs;
    dirs = (struct task_dirs){};
    return 0;
}

void task_dirs_done(struct task_dirs *dirs)
{
    binds_done(&dirs->binds);
    strv_done(&dirs->shifted);
    dirs->base = 0;
}
