/* The `config` block of the agent's `plugin "nomad-driver-nspawn"` block. An option that the schema
 * does not know stops the whole agent: what is here stays for ever. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "tasks/option.h"

struct plugin_config {
    bool enabled;       /* false: the fingerprint says undetected */
    bool volumes;       /* false: a task with volume mounts is refused */
    bool seccomp_cache; /* false: nspawn makes its seccomp programs at each start */
};

extern const struct option plugin_options[];

/* Empty input is the defaults. On error `config` holds the defaults. */
int plugin_config_decode(struct plugin_config *config, const uint8_t *bytes, size_t n_bytes,
                         struct fail *reterr);
