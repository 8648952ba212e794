/* Methods for tests of calls and connections; messages are plugin.ConnInfo. Their context is a
 * struct rpc_methods_seen, in memory of the test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/grpc/call.h"
#include "tests/support/rpc/grpc/grpc_peer.h"

#define RPC_ECHO  "/test.Methods/Echo"  /* answers with its request */
#define RPC_FLOOD "/test.Methods/Flood" /* answers with RPC_FLOOD_BYTES */
/* These stay open until the test ends them. */
#define RPC_KEEP          "/test.Methods/Keep"
#define RPC_KEEP_HOOKLESS "/test.Methods/KeepHookless" /* without a cancel hook */
#define RPC_GIVE          "/test.Methods/Give"         /* a stream of answers */

/* More than a socket and the windows of a new connection hold. */
#define RPC_FLOOD_BYTES (1 << 20)
#define RPC_KEPT_MAX    64

extern const struct rpc_method rpc_methods[];

struct rpc_methods_seen {
    struct rpc_kept {
        struct rpc_methods_seen *seen;
        struct call *call; /* NULL: over */
    } kept[RPC_KEPT_MAX];  /* in the order of their coming */
    size_t n_kept, n_cancelled, n_drains, n_echoes;
    /* In its handler, Echo calls this after its answer. */
    void (*on_echo)(struct rpc_methods_seen *seen);
    /* The next cancel hook ends this call too. */
    struct call *also;
};

/* The call that was kept as the i-th; fails the test when it is over. */
struct call *rpc_kept(const struct rpc_methods_seen *seen, size_t i);
/* The same for who ends it. */
struct call *rpc_kept_take(struct rpc_methods_seen *seen, size_t i);

/* A request with this id; the same in an answer. */
struct grpc_call *rpc_call(struct grpc_peer *peer, const char *path, uint32_t id);
uint32_t rpc_answer_id(const struct grpc_call *call, size_t i);
/* Waits, and fails the test when it did not end well with this id. */
void rpc_expect_id(struct grpc_call *call, uint32_t id);
/* Another call is answered. */
void rpc_expect_served(struct grpc_peer *peer);

/* The handler's side: `address` may be NULL. */
void rpc_send(struct call *call, uint32_t id, const char *address);
void rpc_reply(struct call *call, uint32_t id, const char *address);
