/* What a task uses, read from its cgroup. One timer a stream, with an accuracy that lets the
 * streams of many tasks share a wake-up; nothing wakes up while nobody streams.
 * Owner of a stream: who opened it. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

enum {
    TASK_STATS_CPU_SYSTEM = 1 << 0,
    TASK_STATS_CPU_USER = 1 << 1,
    TASK_STATS_CPU_TICKS = 1 << 2,
    TASK_STATS_CPU_THROTTLED_PERIODS = 1 << 3,
    TASK_STATS_CPU_THROTTLED_TIME = 1 << 4,
    TASK_STATS_CPU_PERCENT = 1 << 5,
    TASK_STATS_MEMORY_RSS = 1 << 6,
    TASK_STATS_MEMORY_CACHE = 1 << 7,
    TASK_STATS_MEMORY_MAX_USAGE = 1 << 8,
    TASK_STATS_MEMORY_USAGE = 1 << 9,
    TASK_STATS_MEMORY_SWAP = 1 << 10,
};

struct task_stats {
    uint64_t timestamp_usec; /* CLOCK_REALTIME */
    unsigned measured;       /* TASK_STATS_* that hold a value */
    double system_percent, user_percent, percent; /* 100: one core */
    double total_ticks;                            /* MHz */
    uint64_t throttled_periods, throttled_nsec;    /* cumulative */
    uint64_t rss_bytes, cache_bytes, usage_bytes, max_usage_bytes, swap_bytes;
};

struct stats_stream;
typedef void (*task_stats_fn)(const struct task_stats *stats, void *data);

/* A shorter interval is raised to this: reading a task's files takes some 50 us. */
#define STATS_INTERVAL_USEC_MIN 100000U
/* And a longer one lowered: beyond it the arithmetic of clocks is not worth thinking about. */
#define STATS_INTERVAL_USEC_MAX (24ULL * 3600 * 1000000)

/* `cgroup_path` as by cgroup_path(): best the task's slice. `core_mhz`: MHz of a core, 0 when not
 * known (then there are no ticks). The first sample comes at once from the loop and claims no
 * percentages and ticks, which are those since the sample before. What the host does not measure (a
 * controller is missing) is not claimed either. When the cgroup is gone there are no more
 * samples; the stream stays until it is freed, which `sample` may do.
 * -ENOENT: no such cgroup. */
int stats_open(sd_event *event, const char *cgroup_path, double core_mhz, uint64_t interval_usec,
               task_stats_fn sample, void *data, struct stats_stream **ret);
struct stats_stream *stats_stream_free(struct stats_stream *stream);
