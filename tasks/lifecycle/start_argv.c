#include "tasks/lifecycle/start_argv.h"

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/nspawn_argv.h"

#define MIB (UINT64_C(1) << 20)

/* The range of a user namespace, as nspawn's own (systemd.exec: 65536 ids). */
#define UID_RANGE 65536

void start_argv_make(const struct start_argv *start, struct strv *ret)
{
    const struct task *task = start->task;
    CLEANUP_FREE char *range = task->uid_base != 0
                                   ? alloc_printf("%u:%u", task->uid_base, UID_RANGE)
                                   : alloc_strdup("pick");
    struct nspawn_run run = {
        .machine = task->names.machine,
        .image = task->image,
        .private_users = start->options->user_namespacing == TRISTATE_YES ? range : NULL,
        .private_users_ownership = start->options->private_users_ownership,
        .binds = start->dirs->binds,
        .no_network = start->plan->kind == NETWORK_GROUP,
        .veth = start->veth,
        .resolv_conf = start->has_resolver ? "off" : NULL,
    };

    nspawn_argv(start->options, &run, ret);
}

/* Nomad's `memory` alone is the limit. With `memory_max` that is the limit, and above `memory` the
 * task is slowed and reclaimed from; without a limit (-1), `memory` is what it keeps under
 * pressure. */
static void limit_memory(const struct task_resources *resources, struct unit_service *service)
{
    if (resources->memory_mb <= 0 || (uint64_t)resources->memory_mb > UINT64_MAX / MIB)
        return;
    uint64_t memory = (uint64_t)resources->memory_mb * MIB;

    if (resources->memory_max_mb < 0) {
        service->memory_low_bytes = memory;
    } else if (resources->memory_max_mb > resources->memory_mb &&
               (uint64_t)resources->memory_max_mb <= UINT64_MAX / MIB) {
        service->memory_high_bytes = memory;
        service->memory_max_bytes = (uint64_t)resources->memory_max_mb * MIB;
    } else {
        service->memory_max_bytes = memory;
    }
}

/* Nomad's MHz are shares of cgroup v1, 2 to 262144, which become a weight of 1 to 10000 by the
 * mapping that container runtimes use. */
static uint64_t weight_of_shares(int64_t shares)
{
    if (shares < 2)
        shares = 2;
    if (shares > 262144)
        shares = 262144;
    return 1 + (uint64_t)(shares - 2) * 9999 / 262142;
}

void start_argv_limits(const struct task_resources *resources, struct unit_service *service)
{
    limit_memory(resources, service);
    if (resources->cpu_shares > 0)
        service->cpu_weight = weight_of_shares(resources->cpu_shares);
    service->allowed_cpus = resources->cpuset_cpus;
}
