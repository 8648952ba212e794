#include "rpc/h2/h2_codec.h"

#include <assert.h>
#include <h2o.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <string.h>

#include "reactor/alloc.h"

/* h2_error is the library's numbering with the sign turned. */
_Static_assert(H2_PROTOCOL_ERROR == -H2O_HTTP2_ERROR_PROTOCOL, "libh2o counts otherwise");
_Static_assert(H2_FRAME_SIZE_ERROR == -H2O_HTTP2_ERROR_FRAME_SIZE, "libh2o counts otherwise");
_Static_assert(H2_COMPRESSION_ERROR == -H2O_HTTP2_ERROR_COMPRESSION, "libh2o counts otherwise");
_Static_assert(H2_INADEQUATE_SECURITY == -H2O_HTTP2_ERROR_INADEQUATE_SECURITY,
               "libh2o counts otherwise");
_Static_assert(H2_DATA == H2O_HTTP2_FRAME_TYPE_DATA, "libh2o counts otherwise");
_Static_assert(H2_CONTINUATION == H2O_HTTP2_FRAME_TYPE_CONTINUATION, "libh2o counts otherwise");
_Static_assert(H2_FLAG_PRIORITY == H2O_HTTP2_FRAME_FLAG_PRIORITY, "libh2o counts otherwise");

static const char *const error_names[H2_ERROR_MAX] = {
    [H2_NO_ERROR] = "NO_ERROR",
    [H2_PROTOCOL_ERROR] = "PROTOCOL_ERROR",
    [H2_INTERNAL_ERROR] = "INTERNAL_ERROR",
    [H2_FLOW_CONTROL_ERROR] = "FLOW_CONTROL_ERROR",
    [H2_SETTINGS_TIMEOUT] = "SETTINGS_TIMEOUT",
    [H2_STREAM_CLOSED] = "STREAM_CLOSED",
    [H2_FRAME_SIZE_ERROR] = "FRAME_SIZE_ERROR",
    [H2_REFUSED_STREAM] = "REFUSED_STREAM",
    [H2_CANCEL] = "CANCEL",
    [H2_COMPRESSION_ERROR] = "COMPRESSION_ERROR",
    [H2_CONNECT_ERROR] = "CONNECT_ERROR",
    [H2_ENHANCE_YOUR_CALM] = "ENHANCE_YOUR_CALM",
    [H2_INADEQUATE_SECURITY] = "INADEQUATE_SECURITY",
    [H2_HTTP_1_1_REQUIRED] = "HTTP_1_1_REQUIRED",
};

struct h2_table {
    h2o_hpack_header_table_t h2o;
};

/* What we announce, as the library wants it for checking the length of frames. */
static const h2o_http2_settings_t own_settings = { .max_frame_size = H2_FRAME_PAYLOAD_MAX };

/* The request that blocks are decoded into: its strings live in its pool. 608 bytes once, instead
 * of once a stream. */
static struct {
    h2o_req_t request;
    bool in_use;
    /* The library looks at the first byte of a header name before it checks that there is one: a
     * block ending in 40 00 reads a byte too far. So blocks are decoded from here, where a zero
     * byte follows. */
    uint8_t block[H2_HEADER_BLOCK_MAX + 1];
} scratch;

const char *h2_error_name(uint32_t error)
{
    return error < H2_ERROR_MAX ? error_names[error] : "an unknown error";
}

/* The library's own values beyond the protocol's (INCOMPLETE, INVALID_HEADER_CHAR, ...) must not
 * reach the wire. */
static enum h2_error map_error(ssize_t r)
{
    if (r >= 0)
        return H2_NO_ERROR;
    return r > -H2_ERROR_MAX ? (enum h2_error)-r : H2_INTERNAL_ERROR;
}

enum h2_error h2_codec_frame_size(const uint8_t *bytes, size_t *ret_size)
{
    h2o_http2_frame_t frame = {};
    const char *text = NULL;
    ssize_t r = h2o_http2_decode_frame(&frame, bytes, H2_FRAME_HEADER_SIZE, &own_settings, &text);
    if (r < 0 && r != H2O_HTTP2_ERROR_INCOMPLETE)
        return map_error(r);
    *ret_size = H2_FRAME_HEADER_SIZE + (size_t)frame.length;
    return H2_NO_ERROR;
}

enum h2_error h2_codec_decode_frame(const uint8_t *bytes, size_t n, struct h2_frame *ret_frame)
{
    h2o_http2_frame_t frame = {};
    const char *text = NULL;
    ssize_t r = h2o_http2_decode_frame(&frame, bytes, n, &own_settings, &text);
    if (r < 0)
        return map_error(r);
    *ret_frame = (struct h2_frame){
        .length = frame.length,
        .type = frame.type,
        .flags = frame.flags,
        /* the top bit is reserved and to be ignored */
        .stream_id = frame.stream_id & 0x7fffffff,
        .payload = frame.payload,
    };
    return H2_NO_ERROR;
}

static h2o_http2_frame_t to_h2o(const struct h2_frame *frame)
{
    return (h2o_http2_frame_t){
        .length = frame->length,
        .type = frame->type,
        .flags = frame->flags,
        .stream_id = frame->stream_id,
        .payload = frame->payload,
    };
}

/* Too short for the fields that its flags promise: the library says PROTOCOL_ERROR, RFC 9113
 * section 4.2 FRAME_SIZE_ERROR. */
static bool is_too_short(const struct h2_frame *frame)
{
    size_t needed = 0;
    if ((frame->flags & H2_FLAG_PADDED) != 0)
        needed += 1;
    if (frame->type == H2_HEADERS && (frame->flags & H2_FLAG_PRIORITY) != 0)
        needed += 5;
    return frame->length < needed;
}

enum h2_error h2_codec_decode_data(const struct h2_frame *frame, struct h2_slice *ret_data)
{
    if (is_too_short(frame))
        return H2_FRAME_SIZE_ERROR;
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_data_payload_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_data_payload(&payload, &h2o, &text);
    if (r == 0)
        *ret_data = (struct h2_slice){ payload.data, payload.length };
    return map_error(r);
}

enum h2_error h2_codec_decode_headers(const struct h2_frame *frame, struct h2_slice *ret_block,
                                      uint32_t *ret_dependency)
{
    if (is_too_short(frame))
        return H2_FRAME_SIZE_ERROR;
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_headers_payload_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_headers_payload(&payload, &h2o, &text);
    if (r == 0) {
        *ret_block = (struct h2_slice){ payload.headers, payload.headers_len };
        *ret_dependency =
                (frame->flags & H2_FLAG_PRIORITY) != 0 ? payload.priority.dependency : 0;
    }
    return map_error(r);
}

enum h2_error h2_codec_decode_priority(const struct h2_frame *frame, uint32_t *ret_dependency)
{
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_priority_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_priority_payload(&payload, &h2o, &text);
    if (r == 0)
        *ret_dependency = payload.dependency;
    return map_error(r);
}

enum h2_error h2_codec_decode_rst_stream(const struct h2_frame *frame, uint32_t *ret_error)
{
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_rst_stream_payload_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_rst_stream_payload(&payload, &h2o, &text);
    if (r == 0)
        *ret_error = payload.error_code;
    return map_error(r);
}

enum h2_error h2_codec_decode_ping(const struct h2_frame *frame, uint8_t ret_data[8])
{
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_ping_payload_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_ping_payload(&payload, &h2o, &text);
    if (r == 0)
        memcpy(ret_data, payload.data, sizeof(payload.data));
    return map_error(r);
}

enum h2_error h2_codec_decode_goaway(const struct h2_frame *frame, uint32_t *ret_error)
{
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_goaway_payload_t payload = {};
    const char *text = NULL;
    int r = h2o_http2_decode_goaway_payload(&payload, &h2o, &text);
    if (r == 0)
        *ret_error = payload.error_code;
    return map_error(r);
}

enum h2_error h2_codec_decode_window_update(const struct h2_frame *frame, uint32_t *ret_increment)
{
    h2o_http2_frame_t h2o = to_h2o(frame);
    h2o_http2_window_update_payload_t payload = {};
    const char *text = NULL;
    int of_stream = 0;
    int r = h2o_http2_decode_window_update_payload(&payload, &h2o, &text, &of_stream);
    if (r == 0)
        *ret_increment = payload.window_size_increment;
    return map_error(r);
}

enum h2_error h2_codec_decode_settings(const struct h2_frame *frame, uint32_t *initial_window)
{
    if (frame->stream_id != 0)
        return H2_PROTOCOL_ERROR;
    if ((frame->flags & H2_FLAG_ACK) != 0)
        return frame->length == 0 ? H2_NO_ERROR : H2_FRAME_SIZE_ERROR;
    if (frame->length % 6 != 0)
        return H2_FRAME_SIZE_ERROR;
    h2o_http2_settings_t settings = { .initial_window_size = *initial_window };
    const char *text = NULL;
    int r = h2o_http2_update_peer_settings(&settings, frame->payload, frame->length, &text);
    if (r == 0)
        *initial_window = settings.initial_window_size;
    return map_error(r);
}

struct h2_table *h2_table_new(void)
{
    struct h2_table *table = ALLOC_NEW(struct h2_table);
    /* A zero-filled table would refuse the peer's second request: it has room for nothing. */
    table->h2o.hpack_capacity = H2_HEADER_TABLE_MAX;
    table->h2o.hpack_max_capacity = H2_HEADER_TABLE_MAX;
    return table;
}

struct h2_table *h2_table_free(struct h2_table *table)
{
    if (!table)
        return NULL;
    h2o_hpack_dispose_header_table(&table->h2o);
    free(table);
    return NULL;
}

static struct h2_text to_text(h2o_iovec_t text)
{
    return (struct h2_text){ text.base, text.len };
}

static int64_t to_content_length(size_t content_length)
{
    if (content_length == SIZE_MAX)
        return -1;
    return content_length > INT64_MAX ? INT64_MAX : (int64_t)content_length;
}

/* The library's list, in our terms and in the same memory pool. */
static void convert_headers(h2o_req_t *request, size_t content_length,
                            struct h2_headers *ret_headers)
{
    /* bounded by H2_HEADER_BLOCK_MAX: a header takes at least a byte of it */
    size_t n = request->headers.size;
    size_t list_bytes = 0;
    struct h2_header *items = NULL;
    if (n > 0)
        items = h2o_mem_alloc_pool(&request->pool, n * sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        const h2o_header_t *from = &request->headers.entries[i];
        items[i] = (struct h2_header){ to_text(*from->name), to_text(from->value) };
        list_bytes += from->name->len + from->value.len + 32;
    }
    *ret_headers = (struct h2_headers){
        .method = to_text(request->input.method),
        .path = to_text(request->input.path),
        .authority = to_text(request->input.authority),
        .has_scheme = request->input.scheme,
        .content_length = to_content_length(content_length),
        .items = items,
        .n_items = n,
        .list_bytes = list_bytes,
    };
}

enum h2_error h2_codec_decode_block(struct h2_table *table, struct h2_slice block,
                                    enum h2_block_kind kind, struct h2_headers *ret_headers,
                                    bool *ret_malformed)
{
    if (block.n > H2_HEADER_BLOCK_MAX)
        return H2_ENHANCE_YOUR_CALM;
    h2_codec_release();
    h2o_mem_init_pool(&scratch.request.pool);
    scratch.in_use = true;
    if (block.n > 0)
        memcpy(scratch.block, block.bytes, block.n);
    scratch.block[block.n] = 0;

    /* No map: pseudo-headers are refused, which is right for trailers. No digests: their parser
     * stays out of the peer's reach. */
    int seen = 0;
    size_t content_length = SIZE_MAX;
    const char *text = NULL; /* read by the library */
    int r = h2o_hpack_parse_headers(&scratch.request, &table->h2o, scratch.block, block.n,
                                    kind == H2_BLOCK_REQUEST ? &seen : NULL, &content_length, NULL,
                                    &text);
    if (r != 0 && r != H2O_HTTP2_ERROR_INVALID_HEADER_CHAR) {
        h2_codec_release();
        return map_error(r);
    }
    *ret_malformed = r != 0;
    convert_headers(&scratch.request, content_length, ret_headers);
    return H2_NO_ERROR;
}

void h2_codec_release(void)
{
    if (!scratch.in_use)
        return;
    h2o_mem_clear_pool(&scratch.request.pool);
    memset(&scratch.request, 0, sizeof(scratch.request));
    scratch.in_use = false;
}

bool h2_text_is(struct h2_text text, const char *s)
{
    return text.s && text.n == strlen(s) && memcmp(text.s, s, text.n) == 0;
}

struct h2_text h2_headers_get(const struct h2_headers *headers, const char *name)
{
    for (size_t i = 0; i < headers->n_items; i++)
        if (h2_text_is(headers->items[i].name, name))
            return headers->items[i].value;
    return (struct h2_text){};
}

uint8_t *h2_codec_encode_frame_header(uint8_t *to, size_t length, enum h2_frame_type type,
                                      uint8_t flags, uint32_t stream_id)
{
    /* the library ends the process for more than 2^24 - 1 */
    assert(length <= H2_FRAME_PAYLOAD_MAX);
    assert(stream_id <= H2_WINDOW_MAX);
    return h2o_http2_encode_frame_header(to, length, (uint8_t)type, flags, (int32_t)stream_id);
}

uint8_t *h2_codec_encode_u32(uint8_t *to, uint32_t value)
{
    return h2o_http2_encode32u(to, value);
}

uint8_t *h2_codec_encode_setting(uint8_t *to, enum h2_setting setting, uint32_t value)
{
    *to++ = 0;
    *to++ = (uint8_t)setting;
    return h2_codec_encode_u32(to, value);
}

size_t h2_codec_header_room(const char *name, size_t n)
{
    /* the library may use length + 6 for each string before it falls back to plain text */
    return 1 + strlen(name) + 6 + n + 6;
}

uint8_t *h2_codec_encode_header(uint8_t *to, const char *name, const void *value, size_t n)
{
    assert(n <= H2_HEADER_BLOCK_MAX);
    *to++ = 0; /* literal, new name, not indexed */
    to += h2o_hpack_encode_string(to, name, strlen(name));
    return to + h2o_hpack_encode_string(to, value, n);
}
