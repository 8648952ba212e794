/* Custom metadata: what applications put among the headers and trailers of a call, beside gRPC's
 * own. A value is text, or any bytes when its key ends in "-bin": those travel in base64, and
 * stand decoded here. Values in, values out. In memory of the caller; zero-filled is empty. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_codec.h"

/* What one list of ours may take, encoded: with the largest status it still fits into one HEADERS
 * frame. */
#define GRPC_METADATA_SENT_MAX 6144

struct grpc_metadatum {
    const char *key; /* lower case */
    const uint8_t *value; /* a NUL follows it */
    size_t n;
};

struct grpc_metadata {
    struct grpc_metadatum *items;
    size_t n_items;
    size_t heap_bytes;    /* about what it takes */
    size_t encoded_bytes; /* at most, by grpc_metadata_write() */
};

/* The custom ones of a request, bounded by H2_HEADER_LIST_MAX. A "-bin" value may be several,
 * joined by commas. -EBADMSG: one is not base64. */
int grpc_metadata_read(const struct h2_headers *headers, struct grpc_metadata *ret_metadata);
/* Copies. -ENOBUFS: GRPC_METADATA_SENT_MAX would be exceeded; -EINVAL: the key is none or gRPC's
 * own, or a text holds more than printable ASCII. */
int grpc_metadata_add(struct grpc_metadata *metadata, const char *key, const void *value,
                      size_t n);
void grpc_metadata_done(struct grpc_metadata *metadata);

/* The i-th value of that key; NULL: there are not so many. */
const struct grpc_metadatum *grpc_metadata_find(const struct grpc_metadata *metadata,
                                                const char *key, size_t i);
/* Encodes it as a part of a header block, at most encoded_bytes, and answers the end. */
uint8_t *grpc_metadata_write(const struct grpc_metadata *metadata, uint8_t *to);

#define CLEANUP_GRPC_METADATA __attribute__((cleanup(grpc_metadata_done)))
