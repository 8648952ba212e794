/* HTTP/2 frames and header blocks (RFC 9113, RFC 7541) by libh2o's codec, which nothing else here
 * includes. Values in, values out: no connection, no stream, no socket. What the library leaves to
 * its caller and where it needs guarding is done here, see h2_codec.c.
 *
 * Decoders answer an enum h2_error; H2_NO_ERROR is success, and only then *ret_x is written. What a
 * result points at lives in the caller's input, unless said otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* RFC 9113 section 7; the values go on the wire. */
enum h2_error {
    H2_NO_ERROR,
    H2_PROTOCOL_ERROR,
    H2_INTERNAL_ERROR,
    H2_FLOW_CONTROL_ERROR,
    H2_SETTINGS_TIMEOUT,
    H2_STREAM_CLOSED,
    H2_FRAME_SIZE_ERROR,
    H2_REFUSED_STREAM,
    H2_CANCEL,
    H2_COMPRESSION_ERROR,
    H2_CONNECT_ERROR,
    H2_ENHANCE_YOUR_CALM,
    H2_INADEQUATE_SECURITY,
    H2_HTTP_1_1_REQUIRED,
    H2_ERROR_MAX
};

/* "PROTOCOL_ERROR" and so on; never NULL. */
const char *h2_error_name(uint32_t error);

enum h2_frame_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION,
    H2_FRAME_TYPE_MAX
};

enum h2_flag {
    H2_FLAG_ACK = 0x1,
    H2_FLAG_END_STREAM = 0x1,
    H2_FLAG_END_HEADERS = 0x4,
    H2_FLAG_PADDED = 0x8,
    H2_FLAG_PRIORITY = 0x20,
};

enum h2_setting {
    H2_SETTING_HEADER_TABLE_SIZE = 1,
    H2_SETTING_ENABLE_PUSH = 2,
    H2_SETTING_MAX_CONCURRENT_STREAMS = 3,
    H2_SETTING_INITIAL_WINDOW_SIZE = 4,
    H2_SETTING_MAX_FRAME_SIZE = 5,
    H2_SETTING_MAX_HEADER_LIST_SIZE = 6,
};

#define H2_FRAME_HEADER_SIZE 9
/* The protocol's smallest maximum: we announce no more, and never send more, so the peer's own
 * setting need not be followed. */
#define H2_FRAME_PAYLOAD_MAX 16384
#define H2_WINDOW_MAX        0x7fffffff
#define H2_WINDOW_DEFAULT    65535

/* One header block, over HEADERS and its CONTINUATION frames. The library has no limit on the list
 * that comes out; a byte of block can cost 112 bytes of heap, so this bounds a block at 1.8 MB for
 * the moment of its handling. grpc-go sends some 120 bytes at first and 16 after. */
#define H2_HEADER_BLOCK_MAX 16384
/* The list that comes out of it, counted as the protocol does: names, values, and 32 bytes a
 * header, so this bounds their number too. A block can name an entry of the table of 4 KiB by one
 * byte: whoever copies headers would copy 64 MiB. */
#define H2_HEADER_LIST_MAX 16384
/* Announced as SETTINGS_HEADER_TABLE_SIZE's default, so it need not be sent. */
#define H2_HEADER_TABLE_MAX 4096

struct h2_frame {
    uint32_t length;
    uint8_t type; /* unknown ones are to be ignored */
    uint8_t flags;
    uint32_t stream_id;
    const uint8_t *payload;
};

/* The size of the frame at `bytes` once it is whole: its header is needed, H2_FRAME_HEADER_SIZE
 * bytes. H2_FRAME_SIZE_ERROR: longer than H2_FRAME_PAYLOAD_MAX. */
enum h2_error h2_codec_frame_size(const uint8_t *bytes, size_t *ret_size);
/* The frame at `bytes`, of which h2_codec_frame_size() many are there. */
enum h2_error h2_codec_decode_frame(const uint8_t *bytes, size_t n, struct h2_frame *ret_frame);

struct h2_slice {
    const uint8_t *bytes;
    size_t n;
};

/* The payloads, padding taken off. Each checks that the frame's length and stream (none or one) are
 * as its type wants. */
enum h2_error h2_codec_decode_data(const struct h2_frame *frame, struct h2_slice *ret_data);
/* ret_dependency: the stream it depends on, 0 if none. */
enum h2_error h2_codec_decode_headers(const struct h2_frame *frame, struct h2_slice *ret_block,
                                      uint32_t *ret_dependency);
enum h2_error h2_codec_decode_priority(const struct h2_frame *frame, uint32_t *ret_dependency);
enum h2_error h2_codec_decode_rst_stream(const struct h2_frame *frame, uint32_t *ret_error);
enum h2_error h2_codec_decode_ping(const struct h2_frame *frame, uint8_t ret_data[8]);
enum h2_error h2_codec_decode_goaway(const struct h2_frame *frame, uint32_t *ret_error);
/* An increment of 0 is H2_PROTOCOL_ERROR: of the stream, unless the frame is the connection's. */
enum h2_error h2_codec_decode_window_update(const struct h2_frame *frame, uint32_t *ret_increment);
/* Takes the peer's settings on; only the window matters to a sender of small frames and literal
 * headers. */
enum h2_error h2_codec_decode_settings(const struct h2_frame *frame, uint32_t *initial_window);

struct h2_text {
    const char *s; /* NUL-terminated, but may hold more NULs */
    size_t n;
};

struct h2_header {
    struct h2_text name, value;
};

struct h2_headers {
    /* s is NULL where the peer sent none */
    struct h2_text method, path, authority;
    bool has_scheme;
    int64_t content_length; /* -1: none */
    const struct h2_header *items; /* the others, in order; no content-length, no host */
    size_t n_items;
    size_t list_bytes; /* see H2_HEADER_LIST_MAX; without pseudo-headers */
};

enum h2_block_kind { H2_BLOCK_REQUEST, H2_BLOCK_TRAILERS };

/* The decoder's dynamic table: one a connection. Every block of the connection must go through it,
 * also those of streams that are refused or closed. */
struct h2_table;
struct h2_table *h2_table_new(void);
struct h2_table *h2_table_free(struct h2_table *table);

/* The headers live until h2_codec_release() or the next call, whichever table it is for: there is
 * one scratch memory in the process. `ret_malformed`: the block was read to its end and the table
 * is in step, but it holds characters no header may have: an error of the stream. Any other failure
 * leaves the table out of step and must end the connection. */
enum h2_error h2_codec_decode_block(struct h2_table *table, struct h2_slice block,
                                    enum h2_block_kind kind, struct h2_headers *ret_headers,
                                    bool *ret_malformed);
void h2_codec_release(void);

/* The value of the first header of that name (lower case); s is NULL if there is none. */
struct h2_text h2_headers_get(const struct h2_headers *headers, const char *name);
bool h2_text_is(struct h2_text text, const char *s);

/* Encoders write at `to` and answer the end of what they wrote. Headers are literal and never
 * indexed, so that the peer's table size does not matter. */
uint8_t *h2_codec_encode_frame_header(uint8_t *to, size_t length, enum h2_frame_type type,
                                      uint8_t flags, uint32_t stream_id);
uint8_t *h2_codec_encode_u32(uint8_t *to, uint32_t value);
uint8_t *h2_codec_encode_setting(uint8_t *to, enum h2_setting setting, uint32_t value);
/* Needs h2_codec_header_room() bytes. */
uint8_t *h2_codec_encode_header(uint8_t *to, const char *name, const void *value, size_t n);
size_t h2_codec_header_room(const char *name, size_t n);
