/* Task events on their way to Nomad. Owner: the driver. While nobody watches, the newest
 * TASK_EVENTS_KEPT_MAX are kept for the next watcher. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "reactor/strv.h"

#define TASK_EVENTS_KEPT_MAX 256

struct task_event {
    const char *task_id, *alloc_id, *task_name;
    uint64_t timestamp_usec; /* CLOCK_REALTIME */
    const char *message;
    const struct pairs *annotations; /* may be NULL */
};

struct task_events;
struct event_watch;
typedef void (*task_event_fn)(const struct task_event *event, void *data);

struct task_events *task_events_new(sd_event *event);
/* Watches that are still there stay valid and silent until they are freed. */
struct task_events *task_events_free(struct task_events *events);

/* Copies. Watchers hear of it later, from the loop, in order. A zero timestamp becomes "now". */
void task_events_emit(struct task_events *events, const struct task_event *event);

/* `event` may free the watch (event_watch_free), add others and emit. */
struct event_watch *task_events_watch(struct task_events *events, task_event_fn event, void *data);
struct event_watch *event_watch_free(struct event_watch *watch);
