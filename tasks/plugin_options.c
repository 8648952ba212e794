#include "tasks/plugin_options.h"

#include "tasks/option_decode.h"

const struct option plugin_options[] = {
    {
        OPTION_BOOL(struct plugin_config, enabled),
        .schema_default = "true",
        .help = "`false`: the driver reports itself as not there, and gets no tasks.",
    },
    {
        OPTION_BOOL(struct plugin_config, volumes),
        .schema_default = "true",
        .help = "`false`: tasks with volume mounts (host volumes, CSI) are refused.",
    },
    {
        OPTION_BOOL(struct plugin_config, seccomp_cache),
        .schema_default = "true",
        .help = "`false`: systemd-nspawn compiles its system call filters anew for each single "
                "process. By default they are read once from a container that it has set up, and "
                "the very same are installed in later ones, which start in half the time.",
    },
    {},
};

int plugin_config_decode(struct plugin_config *config, const uint8_t *bytes, size_t n_bytes,
                         struct fail *reterr)
{
    return option_decode(plugin_options, config, bytes, n_bytes, reterr);
}
