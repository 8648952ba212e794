#include "rpc/nomad/convert_topology.h"

static uint64_t core_mhz(const Nomad__ClientTopologyCore *core)
{
    if (core->base_speed > 0)
        return core->base_speed;
    return core->max_speed > 0 ? core->max_speed : core->guess_speed;
}

double convert_core_mhz(const Nomad__ClientTopology *topology)
{
    if (topology == NULL || topology->n_cores == 0)
        return 0;

    /* In floating point: a sum of any numbers that a message can hold does not overflow. */
    double total_mhz = 0;
    for (size_t i = 0; i < topology->n_cores; i++)
        total_mhz += (double)core_mhz(topology->cores[i]);
    /* An operator's word wins over what was detected (client option cpu_total_compute). */
    if (topology->override_total_compute > 0)
        total_mhz = (double)topology->override_total_compute;
    return total_mhz / (double)topology->n_cores;
}
