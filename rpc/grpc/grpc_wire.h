/* How gRPC writes things over HTTP/2: length-prefixed messages, timeouts, percent-encoding, base64,
 * content types. Values in, values out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gRPC's usual limit, and far above what an agent sends (a task's configuration is some 10 KB).
 * Both ways. */
#define GRPC_WIRE_MESSAGE_MAX (4 * 1024 * 1024)
/* A flag byte and the length. */
#define GRPC_WIRE_PREFIX_SIZE 5

/* Puts messages together from pieces of any size. Zero-filled is empty; in memory of the caller. */
struct grpc_reader {
    uint8_t prefix[GRPC_WIRE_PREFIX_SIZE];
    size_t n_prefix;
    uint32_t length; /* of the message, once the prefix is whole */
    uint8_t *bytes;  /* what is there of it */
    size_t n_bytes;
    size_t n_allocated; /* grows with what arrives, never by what the prefix promises */
};

/* Takes bytes up to the end of one message; *ret_used tells how many. 1: the message is whole, use
 * `bytes` and `length`, then grpc_reader_next(). 0: more is needed.
 * -EMSGSIZE: larger than GRPC_WIRE_MESSAGE_MAX; -EPROTO: compressed; -EBADMSG: no such flag. */
int grpc_reader_feed(struct grpc_reader *reader, const uint8_t *bytes, size_t n, size_t *ret_used);
/* The most it will have allocated after it was fed `n` bytes. */
size_t grpc_reader_room(const struct grpc_reader *reader, size_t n);
bool grpc_reader_is_whole(const struct grpc_reader *reader);
/* Nothing has arrived of the next message. */
bool grpc_reader_is_empty(const struct grpc_reader *reader);
/* Forgets the message and its memory. */
void grpc_reader_next(struct grpc_reader *reader);

/* Writes GRPC_WIRE_PREFIX_SIZE bytes for an uncompressed message of `n` bytes. */
void grpc_wire_prefix(uint8_t *to, uint32_t n);

/* The value of grpc-timeout: up to eight digits and a unit out of "HMSmun". -EINVAL: not so. */
int grpc_wire_parse_timeout(const char *s, size_t n, uint64_t *ret_usec);

/* Whether a request of this content-type is gRPC with protobuf: "application/grpc", alone, with
 * "+proto", or with parameters. */
bool grpc_wire_is_content_type(const char *s, size_t n);

/* For grpc-message: bytes outside of printable ASCII, and '%', become %XX; so does a blank at
 * either end, where RFC 9113 section 8.2.1 allows none. Heap. */
char *grpc_wire_percent_encode(const char *s);
/* For headers that end in -bin; without padding. Heap. */
char *grpc_wire_base64(const uint8_t *bytes, size_t n);
/* The way back, with padding or without: writes at most n / 4 * 3 + 2 bytes. -EBADMSG: not so. */
int grpc_wire_decode_base64(const char *s, size_t n, uint8_t *to, size_t *ret_n);
