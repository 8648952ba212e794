/* What a task uses, read from its cgroup. One timer a stream, with an accuracy that lets the
 * streams of many tasks share a wake-up; nothing wakes up while nobody streams.
 * Owner of a stream: who opened it (stats_stream_free in tasks/driver.h). */
#pragma once

#include <systemd/sd-event.h>

#include "tasks/driver.h"

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
