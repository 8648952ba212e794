/* A server on a socket in a directory of its own, with the methods that a test gives it. */
#pragma once

#include <systemd/sd-event.h>

#include "rpc/grpc/dispatch.h"
#include "rpc/grpc/server.h"
#include "tests/support/rpc/grpc/grpc_peer.h"

struct rpc_fixture {
    sd_event *event;
    char *dir, *path;
    struct dispatch *dispatch;
    struct server *server;
    struct grpc_peer *peer; /* one is there from the start */
};

void rpc_fixture_init(struct rpc_fixture *fixture, const struct rpc_method *methods, void *context);
/* Takes the peer first: calls that are under way are told. */
void rpc_fixture_done(struct rpc_fixture *fixture);

/* A call of the fixture's peer with one message. */
struct grpc_call *rpc_fixture_call(struct rpc_fixture *fixture, const char *path,
                                   const ProtobufCMessage *message);
/* Runs the loop until the server has handled all that was sent before. */
void rpc_fixture_settle(struct rpc_fixture *fixture);
/* Runs the loop until the server has so many connections, or fails the test. */
void rpc_fixture_wait_conns(struct rpc_fixture *fixture, size_t n);
