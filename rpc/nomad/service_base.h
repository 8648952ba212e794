/* Nomad's BasePlugin: what this plugin is, and its configuration. A table for `dispatch`, whose
 * context is the struct driver. */
#pragma once

#include "rpc/grpc/call.h"

/* The driver's name in jobs. */
#define SERVICE_BASE_NAME "nspawn"
/* The only version of the driver API that there is, from Nomad 0.9 on. */
#define SERVICE_BASE_API_VERSION "v0.1.0"

extern const struct rpc_method base_methods[];
