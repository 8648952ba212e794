#include "tasks/lifecycle/start_argv.h"

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/nspawn_argv.h"

/* The range of a user namespace, as nspawn's own (systemd.exec: 65536 ids). */
#define UID_RANGE 65536

void start_argv_make(const struct task *task, struct strv *argv)
{
    CLEANUP_FREE char *range = task->uid_base != 0
                                   ? alloc_printf("%u:%u", task->uid_base, UID_RANGE)
                                   : alloc_strdup("pick");
    struct nspawn_run run = {
        .machine = task->machine,
        .image = task->image,
        .private_users = task->config.user_namespacing == TRISTATE_YES ? range : NULL,
        .private_users_ownership = task->config.private_users_ownership,
        .binds = task->dirs.binds,
        .no_network = task->plan.kind == NETWORK_GROUP,
        .veth = task->veth,
        .resolv_conf = task->has_resolver ? "off" : NULL,
    };

    nspawn_argv(&task->config, &run, argv);
}
