#include "tasks/mounts/task_dirs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/idmap.h"
#include "tasks/mounts/user_range.h"

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
        r = user_range_choose(spec->alloc_dir, spec->alloc_id, &dirs.shifted, &dirs.base, reterr);
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
