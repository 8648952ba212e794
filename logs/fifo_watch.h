/* Tells that a log collector may have come: its FIFO was opened, or made, or made again. Only a
 * hint to look; look once after fifo_watch_new, too, for what happened before. Owner: who waits. */
#pragma once

#include <systemd/sd-event.h>

struct fifo_watch;

/* May free the watch. */
typedef void (*fifo_changed_fn)(void *data);

/* Watches the file that is at `path` now, if any, and its directory. A negative errno when the
 * directory is missing or the system gives no more inotify watches. */
int fifo_watch_new(sd_event *event, const char *path, fifo_changed_fn changed, void *data,
                   struct fifo_watch **ret);
struct fifo_watch *fifo_watch_free(struct fifo_watch *watch);
