/* Processes that the kernel has killed for want of memory, by the memory.events of a cgroup. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

/* How many processes at and below this cgroup the kernel's OOM killer has ended (memory.events,
 * oom_kill). -ENOENT: the memory controller is not enabled or the cgroup is gone. */
int oom_read(const char *cgroup_path, uint64_t *ret_kills);

struct oom_watch;
/* `kills` is the total since the cgroup was made; called from the loop whenever it has grown. May
 * free the watch. */
typedef void (*oom_killed_fn)(uint64_t kills, void *data);

/* Kills that were there before do not count as growth. The watch ends silently with the cgroup: a
 * kill right before that may be missed, so ask oom_read() again at the end, on the task's slice,
 * which outlives its unit. -ENOENT as above: there is nothing to watch. */
int oom_watch_new(sd_event *event, const char *cgroup_path, oom_killed_fn killed, void *data,
                  struct oom_watch **ret);
struct oom_watch *oom_watch_free(struct oom_watch *watch);
