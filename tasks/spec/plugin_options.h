/* The `config` block of the agent's `plugin "nomad-driver-nspawn"` block. An option that the schema
 * does not know stops the whole agent: what is here stays for ever. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "tasks/kernel/address.h"
#include "tasks/spec/option.h"

struct plugin_config {
    bool enabled;       /* false: the fingerprint says undetected */
    bool volumes;       /* false: a task with volume mounts is refused */
    bool seccomp_cache; /* false: nspawn makes its seccomp programs at each start */
    char *network_pool, *network_pool6; /* as they are written */
    struct address pool, pool6;         /* the same; pool6 may be none */
};

extern const struct option_row plugin_options[];

/* Empty input is the defaults. `config` is zero-filled before; on error it holds the defaults. */
int plugin_options_decode(struct plugin_config *config, const uint8_t *bytes, size_t n_bytes,
                         struct fail *reterr);
void plugin_options_done(struct plugin_config *config);

/* The pool must hold a zone's block, and not be half of all addresses. */
#define PLUGIN_OPTIONS_POOL_BITS_MIN 8
#define PLUGIN_OPTIONS_POOL_BITS_MAX 24
/* An IPv4 address must have room behind it. */
#define PLUGIN_OPTIONS_POOL6_BITS_MAX 96
