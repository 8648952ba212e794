/* The command line of systemd-nspawn for a task. Pure: values in, strings out.
 * The environment is never part of it (see nspawn_settings): argv can be read by everybody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reactor/strv.h"
#include "tasks/mounts/binds.h"
#include "tasks/spec/network_kind.h"
#include "tasks/spec/task_options.h"

/* What the driver decided, beside what the job said. Everything is borrowed. */
struct nspawn_run {
    const char *machine;
    const char *image; /* the resolved directory, absolute */
    /* NULL: no user namespace; else the value of --private-users: "pick", "524288:65536". */
    const char *private_users;
    const char *private_users_ownership; /* "auto", "map", "chown", "off"; NULL: "auto" */
    struct binds binds;
    enum network_kind network; /* of all options that choose one, this counts */
    const char *veth; /* our name for the host's end of the pair; NULL: nspawn's own, ve-... */
    const char *resolv_conf; /* instead of the job's; NULL: as the job says */
};

/* `config` has passed task_options_check. Appends to `argv`, which begins with
 * NSPAWN_ARGV_PROGRAM. */
void nspawn_argv(const struct task_options *config, const struct nspawn_run *run,
                 struct strv *argv);

#define NSPAWN_ARGV_PROGRAM "/usr/bin/systemd-nspawn"
