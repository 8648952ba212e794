/* The messages of a streamed answer that a caller has asked for: each of its size, each so long
 * after the one before it, and none while the caller does not read.
 * Owner: the handler of the call, until it tells answers_end(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "grpc_testing.pb-c.h"
#include "rpc/grpc/call.h"

/* Of one payload; with its message around it still below what a call may send. */
#define ANSWERS_PAYLOAD_BYTES_MAX (4 * 1024 * 1024 - 1024)
/* That wait, of one call. */
#define ANSWERS_MAX 65536
/* More is not queued for a caller that does not read. */
#define ANSWERS_QUEUED_BYTES_MAX (1024 * 1024)

struct answers;

/* The body of a payload of `size` zeroes, which live for ever. -EINVAL: no such size. */
int answers_payload(int32_t size, ProtobufCBinaryData *ret_body, struct fail *reterr);

struct answers *answers_new(sd_event *event, struct call *call);
struct answers *answers_free(struct answers *answers);

/* -EINVAL: a size that can't be; -ENOBUFS: too many. Then none of them is sent. */
int answers_add(struct answers *answers, Grpc__Testing__ResponseParameters *const *parameters,
                size_t n, struct fail *reterr);
/* Sends what may be sent now, the rest as time and the caller let it. */
void answers_start(struct answers *answers);
/* The call ends with OK after the last one; then the answers have freed themselves. To be called
 * last. */
void answers_finish(struct answers *answers);
