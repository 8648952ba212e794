#include "rpc/nomad/convert_stats.h"

#include "rpc/nomad/convert.h"

/* Which field of the message a bit of `measured` stands for. */
static const struct {
    unsigned bit;
    Nomad__CPUUsage__Fields field;
} cpu_fields[] = {
    { TASK_STATS_CPU_SYSTEM, NOMAD__CPUUSAGE__FIELDS__SYSTEM_MODE },
    { TASK_STATS_CPU_USER, NOMAD__CPUUSAGE__FIELDS__USER_MODE },
    { TASK_STATS_CPU_TICKS, NOMAD__CPUUSAGE__FIELDS__TOTAL_TICKS },
    { TASK_STATS_CPU_THROTTLED_PERIODS, NOMAD__CPUUSAGE__FIELDS__THROTTLED_PERIODS },
    { TASK_STATS_CPU_THROTTLED_TIME, NOMAD__CPUUSAGE__FIELDS__THROTTLED_TIME },
    { TASK_STATS_CPU_PERCENT, NOMAD__CPUUSAGE__FIELDS__PERCENT },
};

static const struct {
    unsigned bit;
    Nomad__MemoryUsage__Fields field;
} memory_fields[] = {
    { TASK_STATS_MEMORY_RSS, NOMAD__MEMORY_USAGE__FIELDS__RSS },
    { TASK_STATS_MEMORY_CACHE, NOMAD__MEMORY_USAGE__FIELDS__CACHE },
    { TASK_STATS_MEMORY_MAX_USAGE, NOMAD__MEMORY_USAGE__FIELDS__MAX_USAGE },
    { TASK_STATS_MEMORY_USAGE, NOMAD__MEMORY_USAGE__FIELDS__USAGE },
    { TASK_STATS_MEMORY_SWAP, NOMAD__MEMORY_USAGE__FIELDS__SWAP },
};

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

_Static_assert(N_ELEMENTS(cpu_fields) <= N_ELEMENTS(((struct stats_message *)NULL)->cpu_fields),
               "room for every cpu field");
_Static_assert(N_ELEMENTS(memory_fields) <=
                   N_ELEMENTS(((struct stats_message *)NULL)->memory_fields),
               "room for every memory field");

static void convert_cpu(const struct task_stats *stats, struct stats_message *ret)
{
    ret->cpu = (Nomad__CPUUsage)NOMAD__CPUUSAGE__INIT;
    ret->cpu.system_mode = stats->system_percent;
    ret->cpu.user_mode = stats->user_percent;
    ret->cpu.percent = stats->percent;
    ret->cpu.total_ticks = stats->total_ticks;
    ret->cpu.throttled_periods = stats->throttled_periods;
    ret->cpu.throttled_time = stats->throttled_nsec;
    ret->cpu.measured_fields = ret->cpu_fields;
    for (size_t i = 0; i < N_ELEMENTS(cpu_fields); i++)
        if ((stats->measured & cpu_fields[i].bit) != 0)
            ret->cpu_fields[ret->cpu.n_measured_fields++] = cpu_fields[i].field;
}

static void convert_memory(const struct task_stats *stats, struct stats_message *ret)
{
    ret->memory = (Nomad__MemoryUsage)NOMAD__MEMORY_USAGE__INIT;
    ret->memory.rss = stats->rss_bytes;
    ret->memory.cache = stats->cache_bytes;
    ret->memory.usage = stats->usage_bytes;
    ret->memory.max_usage = stats->max_usage_bytes;
    ret->memory.swap = stats->swap_bytes;
    ret->memory.measured_fields = ret->memory_fields;
    for (size_t i = 0; i < N_ELEMENTS(memory_fields); i++)
        if ((stats->measured & memory_fields[i].bit) != 0)
            ret->memory_fields[ret->memory.n_measured_fields++] = memory_fields[i].field;
}

void convert_stats(const char *id, const struct task_stats *stats, struct stats_message *ret)
{
    convert_cpu(stats, ret);
    convert_memory(stats, ret);
    convert_timestamp(stats->timestamp_usec, &ret->timestamp);

    ret->usage = (Nomad__TaskResourceUsage)NOMAD__TASK_RESOURCE_USAGE__INIT;
    ret->usage.cpu = &ret->cpu;
    ret->usage.memory = &ret->memory;
    ret->stats = (Nomad__TaskStats)NOMAD__TASK_STATS__INIT;
    ret->stats.id = id;
    ret->stats.timestamp = &ret->timestamp;
    ret->stats.agg_resource_usage = &ret->usage;
    ret->response = (Nomad__TaskStatsResponse)NOMAD__TASK_STATS_RESPONSE__INIT;
    ret->response.stats = &ret->stats;
}
