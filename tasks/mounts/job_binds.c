#include "tasks/mounts/job_binds.h"

#include <errno.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"

static int find_source(const char *option, const char *path, const char *task_dir, char **ret,
                       struct fail *reterr)
{
    if (path[0] == '/') {
        *ret = alloc_strdup(path);
        return 0;
    }
    int r = resolve_below(task_dir, path, ret);
    if (r == -EXDEV)
        return fail_set(reterr, r,
                        "%s '%s': leads out of the task's directory; give an absolute path", option,
                        path);
    if (r < 0)
        return fail_set(reterr, r, "%s '%s': in the task's directory: %s", option, path,
                        strerror(-r));
    return 0;
}

static int add_pairs(enum bind_owner owner, const struct pairs *pairs, const char *task_dir,
                     struct binds *binds, struct fail *reterr)
{
    bool read_only = owner == BIND_OWNER_JOB_READ_ONLY;
    const char *option = read_only ? "bind_read_only" : "bind";
    struct bind_how how = { .read_only = read_only };

    for (size_t i = 0; i < pairs->n_items; i++) {
        CLEANUP_FREE char *source = NULL;

        int r = find_source(option, pairs->items[i].key, task_dir, &source, reterr);
        if (r >= 0)
            r = binds_add(binds, owner, source, pairs->items[i].value, how, reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

int job_binds_add(const struct task_options *config, const char *task_dir, struct binds *binds,
                  struct fail *reterr)
{
    int r = add_pairs(BIND_OWNER_JOB, &config->bind, task_dir, binds, reterr);

    return r < 0 ? r
                 : add_pairs(BIND_OWNER_JOB_READ_ONLY, &config->bind_read_only, task_dir, binds,
                             reterr);
}
