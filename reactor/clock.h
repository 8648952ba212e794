/* What time it is, in microseconds: the unit of sd-event, of systemd's properties and of events. */
#pragma once

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC to measure and to set timers, CLOCK_REALTIME to tell people. Read anew at each
 * call: sd_event_now() is the time at which the loop woke up. */
uint64_t clock_now_usec(clockid_t clock);
