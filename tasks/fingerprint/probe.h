/* What this host can do, found out by trying and never from version numbers. Stateless: each call
 * tries again, so nothing is stale after a package was installed or a file system was mounted. */
#pragma once

#include <stdbool.h>

#include "tasks/kernel/cgroup.h"

struct probe_host {
    bool root;            /* the plugin has the rights of root */
    bool booted;          /* PID 1 is systemd */
    bool nspawn;          /* systemd-nspawn is there and can be executed */
    bool user_namespaces; /* one could be made */
    bool idmapped_mounts; /* where container images live: /var/lib/machines */
    enum cgroup_version cgroup;
};

typedef void (*probe_host_fn)(struct probe_host *ret);

/* A `probe_host_fn`. Takes about a millisecond (a child process lives that long). */
void probe_host(struct probe_host *ret);
