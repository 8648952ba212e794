/* What go-plugin wants of every plugin, besides its purpose: an end on request, and two streams
 * that Nomad opens and leaves silent. A table for `dispatch`. */
#pragma once

#include "rpc/grpc/call.h"

/* The context of `plugin_methods`; owner: main. */
struct service_plugin {
    /* The host has asked the plugin to end, and the answer is queued: flush it and end, within the
     * two seconds after which the host kills. Called from inside a handler: must not free calls or
     * connections before it has returned to the loop. */
    void (*shutdown)(void *data);
    void *data;
};

extern const struct rpc_method plugin_methods[];
