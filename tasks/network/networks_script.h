/* From the records of all networks to the packet filter's script: which addresses of the host each
 * port is published at. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tasks/network/network_record.h"
#include "tasks/spec/plugin_options.h"

struct networks_script {
    char *text, *content; /* heap; what nft is to be told, and what is so afterwards */
    bool is_empty;   /* afterwards there is no table */
    bool is_at_some; /* it depends on which addresses the host has */
};

/* `is_update`: a table that an earlier script has made is there. */
void networks_script_make(const struct network_record *const *records, size_t n,
                          const struct plugin_config *config, bool is_update,
                          struct networks_script *ret);
