#include "tasks/resources/limits.h"

#include <stdint.h>

#include "tasks/kernel/cpu_list.h"

#define MIB (UINT64_C(1) << 20)

/* Nomad's `memory` alone is the limit. With `memory_max` that is the limit, and above `memory` the
 * task is slowed and reclaimed from; without a limit (-1), `memory` is what it keeps under
 * pressure. */
static void add_memory(const struct task_resources *resources, struct unit_properties *properties)
{
    if (resources->memory_mb <= 0 || (uint64_t)resources->memory_mb > UINT64_MAX / MIB)
        return;
    uint64_t memory = (uint64_t)resources->memory_mb * MIB;

    if (resources->memory_max_mb < 0) {
        unit_properties_add_u64(properties, "MemoryLow", memory);
    } else if (resources->memory_max_mb > resources->memory_mb &&
               (uint64_t)resources->memory_max_mb <= UINT64_MAX / MIB) {
        unit_properties_add_u64(properties, "MemoryMax", (uint64_t)resources->memory_max_mb * MIB);
        unit_properties_add_u64(properties, "MemoryHigh", memory);
    } else {
        unit_properties_add_u64(properties, "MemoryMax", memory);
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

static int add_cpus(const char *list, struct unit_properties *properties, struct fail *reterr)
{
    uint8_t mask[CPU_LIST_BYTES];
    size_t n_bytes;

    int r = cpu_list_parse(list, mask, &n_bytes);
    if (r < 0)
        return fail_set(reterr, r, "cpuset '%s': expected a list like 0,2-3", list);
    if (n_bytes > 0)
        unit_properties_add_bytes(properties, "AllowedCPUs", mask, n_bytes);
    return 0;
}

int limits_add(const struct task_resources *resources, struct unit_properties *properties,
               struct fail *reterr)
{
    add_memory(resources, properties);
    if (resources->cpu_shares > 0)
        unit_properties_add_u64(properties, "CPUWeight", weight_of_shares(resources->cpu_shares));
    return add_cpus(resources->cpuset_cpus, properties, reterr);
}
