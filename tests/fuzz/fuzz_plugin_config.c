/* The agent's configuration of the plugin, from msgpack. */
#include "tasks/spec/plugin_options.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct plugin_config config = {};
    CLEANUP_FAIL struct fail fail = {};
    int r = plugin_options_decode(&config, bytes, n, &fail);

    MUST(r <= 0 && (r < 0) == (fail.message != NULL));
    MUST(r == 0 || (config.enabled && config.volumes));
    MUST(config.pool.family == AF_INET && config.network_pool != NULL);
    plugin_options_done(&config);
    return 0;
}
