/* The command line of systemd-nspawn for a task. Pure: values in, strings out.
 * The environment is never part of it (see nspawn_settings): argv can be read by everybody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reactor/strv.h"
#include "tasks/spec/task_options.h"

/* How the owners of what is bound look from inside a user namespace. */
enum nspawn_bind_map {
    NSPAWN_BIND_MAP_NONE,      /* as ids of the host, which inside are nobody's */
    NSPAWN_BIND_MAP_IDMAP,     /* the same ids inside, if the file system can be ID-mapped */
    NSPAWN_BIND_MAP_ROOTIDMAP, /* the owner of the source is root inside; the same condition */
    NSPAWN_BIND_MAP_MAX
};

struct nspawn_bind_how {
    bool read_only;
    enum nspawn_bind_map map; /* not NONE only together with a user namespace */
    bool without_submounts;   /* only the file system that the source itself is on */
};

struct nspawn_bind {
    char *source; /* absolute; any bytes but NUL */
    char *target; /* absolute path inside */
    struct nspawn_bind_how how;
};

struct nspawn_binds {
    struct nspawn_bind *items;
    size_t n_items;
};

/* Copies the paths. */
void nspawn_binds_add(struct nspawn_binds *binds, const char *source, const char *target,
                      struct nspawn_bind_how how);
void nspawn_binds_done(struct nspawn_binds *binds);

/* What the driver decided, beside what the job said. Everything is borrowed. */
struct nspawn_run {
    const char *machine;
    const char *image;    /* the resolved directory, absolute */
    /* NULL: no user namespace; else the value of --private-users: "pick", "524288:65536". */
    const char *private_users;
    const char *private_users_ownership; /* "auto", "map", "chown", "off"; NULL: "auto" */
    struct nspawn_binds binds; /* Nomad's own, then those of the job (job_binds) */
    bool no_network;  /* the namespace is Nomad's: none of the options of networks */
    const char *veth; /* our name for the host's end of the link; NULL: nspawn's own, ve-... */
    const char *resolv_conf; /* instead of the job's; NULL: as the job says */
};

/* `config` has passed task_options_check. Appends to `argv`, which begins with
 * NSPAWN_ARGV_PROGRAM. */
void nspawn_argv(const struct task_options *config, const struct nspawn_run *run,
                 struct strv *argv);

#define NSPAWN_ARGV_PROGRAM "/usr/bin/systemd-nspawn"
/* What the link to the host, a zone or a bridge is called inside. */
#define NSPAWN_ARGV_LINK "host0"
