#include "tasks/lifecycle/start_argv.h"

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/mounts/user_range.h"
#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/nspawn/nspawn_words.h"

void start_argv_make(const struct start_argv *start, struct strv *ret)
{
    const struct task *task = start->task;
    CLEANUP_FREE char *range = task->uid_base != 0
                                   ? alloc_printf("%u:%u", task->uid_base, USER_RANGE_IDS)
                                   : alloc_strdup(NSPAWN_WORDS_PICK);
    struct nspawn_run run = {
        .machine = task->names.machine,
        .image = task->image,
        .private_users = start->options->user_namespacing == TRISTATE_YES ? range : NULL,
        .private_users_ownership = start->options->private_users_ownership,
        .binds = start->dirs->binds,
        .network = start->plan->kind,
        .veth = start->veth,
        .resolv_conf = start->has_resolver ? "off" : NULL,
    };

    nspawn_argv(start->options, &run, ret);
}
