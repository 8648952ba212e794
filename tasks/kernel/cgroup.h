/* Reading the cgroup v2 tree, and hearing of OOM kills. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

enum cgroup_version {
    CGROUP_VERSION_NONE,   /* no v2 hierarchy is mounted where systemd has it */
    CGROUP_VERSION_HYBRID, /* v2 without controllers at /sys/fs/cgroup/unified */
    CGROUP_VERSION_V2,     /* v2 at /sys/fs/cgroup */
    CGROUP_VERSION_MAX
};

/* "none", "hybrid", "v2" */
const char *cgroup_version_name(enum cgroup_version version);
enum cgroup_version cgroup_version(void);

/* The directory of a control group as systemd names it (property ControlGroup,
 * "/nspawn.slice/..."): heap; NULL when no v2 hierarchy is mounted. */
char *cgroup_path(const char *control_group);

/* A file that holds one number; "max" reads as UINT64_MAX. -ENOENT: no such file (the controller is
 * not enabled), -ENODEV: the cgroup is gone, -EBADMSG: not a number. */
int cgroup_read_number(int dir_fd, const char *file, uint64_t *ret);

struct cgroup_key {
    const char *name;
    uint64_t *ret;
};

/* A flat-keyed file ("usage_usec 123" a line). Answers a bit set of the keys that were found (at
 * most 16 keys); those not found are left alone. Errors as above. */
int cgroup_read_keys(int dir_fd, const char *file, const struct cgroup_key *keys, unsigned n_keys);

/* --- out of memory --------------------------------------------------------------------------- */

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
