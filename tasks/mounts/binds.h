/* What of the host is bound into a container: one list, to which all add who bind something. In
 * memory of the caller; zero-filled is empty.
 *
 * The list stands in the order in which systemd-nspawn mounts, whatever order its arguments have
 * (custom_mount_compare() in systemd's nspawn-mount.c): by target, component by component, so that
 * what lies below another comes after it. Two at one target would stand in an order of chance, one
 * hiding the other: they are refused, whoever they are of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reactor/fail.h"

/* How the owners of what is bound look from inside a user namespace. */
enum bind_map {
    BIND_MAP_NONE,      /* as ids of the host, which inside are nobody's */
    BIND_MAP_IDMAP,     /* the same ids inside, if the file system can be ID-mapped */
    BIND_MAP_ROOTIDMAP, /* the owner of the source is root inside; the same condition */
    BIND_MAP_MAX
};

struct bind_how {
    bool read_only;
    enum bind_map map;      /* not NONE only together with a user namespace */
    bool without_submounts; /* only the file system that the source itself is on */
};

/* Who binds it. Of two at one target, the later one here is that which can be changed. */
enum bind_owner {
    BIND_OWNER_NAMES,    /* /etc/hosts and /etc/resolv.conf of ours: give way to any other */
    BIND_OWNER_INIT,     /* the driver's init, and the directory of its link */
    BIND_OWNER_TASK_DIR, /* Nomad's directories of the task */
    BIND_OWNER_VOLUME,   /* Nomad's volumes */
    BIND_OWNER_JOB,      /* the option `bind` */
    BIND_OWNER_JOB_READ_ONLY,
    BIND_OWNER_MAX
};

struct bind {
    enum bind_owner owner;
    char *source; /* absolute; any bytes but NUL */
    char *target; /* absolute path inside */
    struct bind_how how;
};

struct binds {
    struct bind *items;
    size_t n_items;
};

/* Copies the paths. 1: it is in the list, 0: it gives way to one that is there; -EINVAL: another
 * has the target already, and the message says which two, and what to do. Targets are the same
 * that have the same components; where links of the image lead is not looked at. */
int binds_add(struct binds *binds, enum bind_owner owner, const char *source, const char *target,
              struct bind_how how, struct fail *reterr);
void binds_done(struct binds *binds);
