#include "tasks/mounts/binds.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

static const struct {
    const char *name, *remedy;
} owners[BIND_OWNER_MAX] = {
    [BIND_OWNER_NAMES] = { "the driver's files of names", "" },
    [BIND_OWNER_INIT] = { "the driver's init", "" },
    [BIND_OWNER_TASK_DIR] = { "the task's directories",
                              "leave NOMAD_ALLOC_DIR, NOMAD_TASK_DIR and NOMAD_SECRETS_DIR as "
                              "Nomad sets them" },
    [BIND_OWNER_VOLUME] = { "volume_mount", "choose another destination for the volume_mount" },
    [BIND_OWNER_JOB] = { "option 'bind'", "remove the bind, or choose another path inside" },
    [BIND_OWNER_JOB_READ_ONLY] = { "option 'bind_read_only'",
                                   "remove the bind, or choose another path inside" },
};

/* --- order ----------------------------------------------------------------------------------- */

/* "." and repeated slashes name nothing. */
static const char *find_component(const char *path, size_t *ret_n)
{
    path += strspn(path, "/");
    *ret_n = strcspn(path, "/");
    while (*ret_n == 1 && *path == '.') {
        path += 1 + strspn(path + 1, "/");
        *ret_n = strcspn(path, "/");
    }
    return path;
}

static int compare_targets(const char *a, const char *b)
{
    size_t n_a, n_b;

    for (;;) {
        a = find_component(a, &n_a);
        b = find_component(b, &n_b);
        if (n_a == 0 || n_b == 0)
            return (n_a > 0) - (n_b > 0);
        int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
        if (order == 0)
            order = (n_a > n_b) - (n_a < n_b);
        if (order != 0)
            return order;
        a += n_a;
        b += n_b;
    }
}

/* Where the target is to stand; `ret_found`: one is there that has it. */
static size_t find_place(const struct binds *binds, const char *target, bool *ret_found)
{
    size_t i = binds->n_items;
    int order = 1;

    while (i > 0 && (order = compare_targets(binds->items[i - 1].target, target)) > 0)
        i--;
    *ret_found = i > 0 && order == 0;
    return *ret_found ? i - 1 : i;
}

/* --- adding ---------------------------------------------------------------------------------- */

static struct bind make(enum bind_owner owner, const char *source, const char *target,
                        struct bind_how how)
{
    return (struct bind){ owner, alloc_strdup(source), alloc_strdup(target), how };
}

static void drop(struct bind *bind)
{
    free(bind->source);
    free(bind->target);
}

static int fail_clash(const struct bind *there, enum bind_owner owner, const char *source,
                      struct fail *reterr)
{
    bool is_first = owner >= there->owner;
    enum bind_owner first = is_first ? owner : there->owner;
    enum bind_owner second = is_first ? there->owner : owner;

    return fail_set(reterr, -EINVAL,
                    "%s: '%s' is the path inside of two binds, of '%s' and of '%s' (%s); %s",
                    owners[first].name, there->target, is_first ? source : there->source,
                    is_first ? there->source : source, owners[second].name, owners[first].remedy);
}

int binds_add(struct binds *binds, enum bind_owner owner, const char *source, const char *target,
              struct bind_how how, struct fail *reterr)
{
    bool found;
    size_t at = find_place(binds, target, &found);

    assert(owner < BIND_OWNER_MAX);
    if (found && owner == BIND_OWNER_NAMES)
        return 0;
    if (found && binds->items[at].owner != BIND_OWNER_NAMES)
        return fail_clash(&binds->items[at], owner, source, reterr);
    if (found) {
        drop(&binds->items[at]);
    } else {
        binds->items = alloc_grow(binds->items, binds->n_items + 1, sizeof(struct bind));
        memmove(&binds->items[at + 1], &binds->items[at],
                (binds->n_items - at) * sizeof(struct bind));
        binds->n_items++;
    }
    binds->items[at] = make(owner, source, target, how);
    return 1;
}

void binds_done(struct binds *binds)
{
    for (size_t i = 0; i < binds->n_items; i++)
        drop(&binds->items[i]);
    free(binds->items);
    *binds = (struct binds){};
}
