/* Running the loop in a test: until something has happened, never for a fixed time, and with a
 * deadline so that a test that waits in vain fails instead of hanging. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Far beyond what any test needs, also under sanitizers on a busy machine. */
#define EVENT_DEADLINE_USEC (20 * UINT64_C(1000000))

/* Runs until `condition(data)` holds; false: it did not within EVENT_DEADLINE_USEC. */
bool event_run_until(sd_event *event, bool (*condition)(void *data), void *data);
/* The same until *flag is set. */
bool event_run_until_set(sd_event *event, const bool *flag);
/* How long that takes when nothing but the loop's own sources wakes it: it sleeps as long as it is
 * allowed to. UINT64_MAX: the condition never held. */
uint64_t event_usec_until(sd_event *event, bool (*condition)(void *data), void *data);
/* Handles what is pending now, and what that leads to at once; does not wait. */
void event_run_pending(sd_event *event);
/* Runs for a time in which nothing should happen; answers how many events were handled. */
unsigned event_count_during(sd_event *event, uint64_t usec);
