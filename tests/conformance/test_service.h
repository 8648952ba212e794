/* grpc.testing.TestService, as gRPC's description of its interoperability tests tells it: answers
 * of any size, statuses and metadata that are sent back, streams both ways. */
#pragma once

#include <systemd/sd-event.h>

#include "rpc/grpc/call.h"

/* The context of these methods. Owner: main; it outlives the server. */
struct test_service {
    sd_event *event;
};

extern const struct rpc_method test_methods[];
