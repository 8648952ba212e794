/* Memory that bursts of calls take: how malloc treats it, and when it is given back.
 * Owner of a memory: the server. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Memory is given back this long after calls held more than MEMORY_BURST_BYTES, or so many of a
 * connection's calls ended: one that goes on is not slowed by giving back what it takes again. */
#define MEMORY_TRIM_USEC   (1000 * UINT64_C(1000))
#define MEMORY_BURST_BYTES (256 * 1024)
#define MEMORY_BURST_CALLS 32

/* To be called once, at the start of the process: how malloc treats large messages. */
void memory_set_limits(void);

struct memory;

/* `is_held`: whether a burst goes on; `trim_usec`: MEMORY_TRIM_USEC. */
struct memory *memory_new(sd_event *event, uint64_t trim_usec, bool (*is_held)(void *data),
                          void *data);
struct memory *memory_free(struct memory *memory);
/* There is a burst, or it has ended: what it took is given back trim_usec after the first of these,
 * or so many times later as the burst goes on. */
void memory_note_burst(struct memory *memory);
