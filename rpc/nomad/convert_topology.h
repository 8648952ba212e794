/* The node's processors as Nomad sees them, for the one number that statistics need. */
#pragma once

#include "base.pb-c.h"

/* MHz of an average core, as the agent itself counts them for its own drivers, so that a task's
 * ticks and the node's total are of one kind. 0 when the topology does not tell. */
double convert_core_mhz(const Nomad__ClientTopology *topology);
