/* A service for fuzzing: methods of each kind that answer at once, later, in streams, or fail, as
 * the request says. Messages are plugin.ConnInfo: its service_id and address say how. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rpc/grpc/call.h"
#include "tests/fuzz/input.h"

struct kept;
TAILQ_HEAD(kept_list, kept);

/* The methods' context, in memory of the caller. */
struct handlers {
    size_t fill_max;         /* what one answer may be filled up with */
    struct kept_list kept;   /* calls that wait to be ended */
    size_t n_kept, n_hooked; /* those with a cancel hook */
    uint64_t n_answered; /* bytes and ends that handlers have given to be sent, an upper bound */
};

extern const struct rpc_method handlers_methods[];
#define HANDLERS_PATHS 8

/* A request for them as gRPC writes it on the wire, of this size, with an address of so many
 * bytes. */
#define HANDLERS_REQUEST_SIZE(n_address) (5 + 6 + 6 + (n_address))
void handlers_write_request(uint32_t number, size_t n_address, uint8_t *to);

void handlers_init(struct handlers *handlers, size_t fill_max);
/* Does to one of the kept calls what the input says: sends, replies, fails, finishes. */
void handlers_act(struct handlers *handlers, struct input *input);
/* After the connection has gone. Ends what is left; a call with a cancel hook must not be. */
void handlers_done(struct handlers *handlers);
