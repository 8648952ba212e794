/* The header blocks of answers, encoded for h2_stream. Each writes at most GRPC_BLOCK_MAX bytes at
 * `to` and answers how many. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rpc/grpc/grpc_metadata.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/h2/h2_codec.h"

/* The largest: a message percent-encoded to three times its length, the details in base64, names,
 * and an application's metadata.
 * It must fit into one HEADERS frame. */
#define GRPC_BLOCK_MAX                                                   \
    (3 * GRPC_STATUS_MESSAGE_MAX + GRPC_STATUS_DETAILS_MAX * 4 / 3 + 512 + \
     GRPC_METADATA_SENT_MAX)

/* What comes before messages. */
size_t grpc_block_headers(uint8_t *to, const struct grpc_metadata *initial);
/* What comes after them. */
size_t grpc_block_trailers(uint8_t *to, const struct grpc_status *status,
                           const struct grpc_metadata *trailing);
/* Both in one, for an answer without messages ("Trailers-Only"). */
size_t grpc_block_only(uint8_t *to, const struct grpc_status *status,
                       const struct grpc_metadata *trailing);
/* A refusal that also a client which does not speak gRPC understands: 415, 400. */
size_t grpc_block_refusal(uint8_t *to, const char *http_status, const struct grpc_status *status);
/* What comes before a text, for one who does not speak gRPC at all: 405, 415. */
size_t grpc_block_text(uint8_t *to, const char *http_status);
