/* gRPC health checking, version 1, for tools: go-plugin's hosts know the service as "plugin".
 * A table for `dispatch`; needs no context. */
#pragma once

#include "rpc/grpc/call.h"

extern const struct rpc_method health_methods[];
