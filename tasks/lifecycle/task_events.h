/* Task events on their way to Nomad. Owner: the driver. While nobody watches, the newest
 * DRIVER_EVENTS_KEPT_MAX (tasks/driver.h) are kept for the next watcher. */
#pragma once

#include <systemd/sd-event.h>

#include "tasks/driver.h"

struct task_events;

struct task_events *task_events_new(sd_event *event);
/* Watches that are still there stay valid and silent until they are freed. */
struct task_events *task_events_free(struct task_events *events);

/* Copies. Watchers hear of it later, from the loop, in order. A zero timestamp becomes "now". */
void task_events_emit(struct task_events *events, const struct task_event *event);

/* `event` may free the watch (event_watch_free in tasks/driver.h), add others and emit. */
struct event_watch *task_events_watch(struct task_events *events, task_event_fn event, void *data);
