/* A sample of a task's statistics as the message that the agent takes. The parts lie in one struct
 * of the caller and point at each other: it must not be moved. */
#pragma once

#include "driver.pb-c.h"
#include "tasks/driver.h"

struct stats_message {
    Nomad__TaskStatsResponse response;
    Nomad__TaskStats stats;
    Google__Protobuf__Timestamp timestamp;
    Nomad__TaskResourceUsage usage;
    Nomad__CPUUsage cpu;
    Nomad__MemoryUsage memory;
    Nomad__CPUUsage__Fields cpu_fields[6];
    Nomad__MemoryUsage__Fields memory_fields[7];
};

/* Every sub-message that the agent would crash without is there; what was not measured is not named
 * as measured. `id` is borrowed. */
void convert_stats(const char *id, const struct task_stats *stats, struct stats_message *ret);
