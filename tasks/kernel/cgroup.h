/* Reading the cgroup v2 tree. */
#pragma once

#include <stdint.h>

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
