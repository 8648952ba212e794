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

static int add_pairs(const char *option, const struct pairs *pairs, const char *task_dir,
                     struct nspawn_bind_how how, struct nspawn_binds *binds, struct fail *reterr)
{
    for (size_t i = 0; i < pairs->n_items; i++) {
        CLEANUP_FREE char *source = NULL;

        int r = find_source(option, pairs->items[i].key, task_dir, &source, reterr);
        if (r < 0)
            return r;
        nspawn_binds_add(binds, source, pairs->items[i].value, how);
    }
    return 0;
}

int job_binds_add(const struct task_options *config, const char *task_dir,
                  struct nspawn_binds *binds, struct fail *reterr)
{
    int r = add_pairs("bind", &config->bind, task_dir, (struct nspawn_bind_how){}, binds, reterr);

    if (r < 0)
        return r;
    return add_pairs("bind_read_only", &config->bind_read_only, task_dir,
                     (struct nspawn_bind_how){ .read_only = true }, binds, reterr);
}
