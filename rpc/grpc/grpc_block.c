#include "rpc/grpc/grpc_block.h"

#include <stdio.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_wire.h"

_Static_assert(GRPC_BLOCK_MAX <= H2_FRAME_PAYLOAD_MAX, "trailers must fit into one frame");

static uint8_t *put(uint8_t *to, const char *name, const char *value)
{
    return h2_codec_encode_header(to, name, value, strlen(value));
}

static uint8_t *put_headers(uint8_t *to, const char *http_status)
{
    to = put(to, ":status", http_status);
    return put(to, "content-type", "application/grpc");
}

static uint8_t *put_status(uint8_t *to, const struct grpc_status *status)
{
    char code[4];
    (void)snprintf(code, sizeof(code), "%u", (unsigned)status->code % GRPC_CODE_MAX);
    to = put(to, "grpc-status", code);
    if (status->message) {
        CLEANUP_FREE char *message = grpc_wire_percent_encode(status->message);
        to = put(to, "grpc-message", message);
    }
    if (status->details) {
        CLEANUP_FREE char *details = grpc_wire_base64(status->details, status->n_details);
        to = put(to, "grpc-status-details-bin", details);
    }
    return to;
}

/* UNIMPLEMENTED may be about a compression; then the client must be told which ones there are. */
static uint8_t *put_encodings(uint8_t *to, const struct grpc_status *status)
{
    return status->code == GRPC_UNIMPLEMENTED ? put(to, "grpc-accept-encoding", "identity") : to;
}

size_t grpc_block_headers(uint8_t *to, const struct grpc_metadata *initial)
{
    return (size_t)(grpc_metadata_write(initial, put_headers(to, "200")) - to);
}

size_t grpc_block_trailers(uint8_t *to, const struct grpc_status *status,
                           const struct grpc_metadata *trailing)
{
    return (size_t)(grpc_metadata_write(trailing, put_status(to, status)) - to);
}

size_t grpc_block_only(uint8_t *to, const struct grpc_status *status,
                       const struct grpc_metadata *trailing)
{
    uint8_t *end = put_status(put_encodings(put_headers(to, "200"), status), status);
    return (size_t)(grpc_metadata_write(trailing, end) - to);
}

size_t grpc_block_refusal(uint8_t *to, const char *http_status, const struct grpc_status *status)
{
    return (size_t)(put_status(put_headers(to, http_status), status) - to);
}

size_t grpc_block_text(uint8_t *to, const char *http_status)
{
    uint8_t *end = put(to, ":status", http_status);
    if (strcmp(http_status, "405") == 0)
        end = put(end, "allow", "POST");
    return (size_t)(put(end, "content-type", "text/plain; charset=utf-8") - to);
}
