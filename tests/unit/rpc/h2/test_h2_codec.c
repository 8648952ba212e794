/* Frames. Header blocks: test_h2_block.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/h2/h2_codec.h"
#include "tests/support/fd_leak.h"

/* --- payloads -------------------------------------------------------------------------------- */

static enum h2_error decode_headers(const struct h2_frame *frame, char *text, size_t n)
{
    struct h2_slice block = {};
    uint32_t dependency = 0;

    enum h2_error error = h2_codec_decode_headers(frame, &block, &dependency);
    if (error == H2_NO_ERROR)
        (void)snprintf(text, n, "%.*s/%u", (int)block.n, (const char *)block.bytes, dependency);
    return error;
}

static enum h2_error decode_data(const struct h2_frame *frame, char *text, size_t n)
{
    struct h2_slice slice = {};

    enum h2_error error = h2_codec_decode_data(frame, &slice);
    if (error == H2_NO_ERROR)
        (void)snprintf(text, n, "%.*s", (int)slice.n, (const char *)slice.bytes);
    return error;
}

static enum h2_error decode_ping(const struct h2_frame *frame, char *text, size_t n)
{
    uint8_t data[8] = {};

    enum h2_error error = h2_codec_decode_ping(frame, data);
    if (error == H2_NO_ERROR)
        (void)snprintf(text, n, "%.8s", (const char *)data);
    return error;
}

static enum h2_error decode_number(const struct h2_frame *frame, char *text, size_t n)
{
    static enum h2_error (*const decoders[H2_FRAME_TYPE_MAX])(const struct h2_frame *,
                                                              uint32_t *) = {
        [H2_PRIORITY] = h2_codec_decode_priority,
        [H2_RST_STREAM] = h2_codec_decode_rst_stream,
        [H2_SETTINGS] = h2_codec_decode_settings,
        [H2_GOAWAY] = h2_codec_decode_goaway,
        [H2_WINDOW_UPDATE] = h2_codec_decode_window_update,
    };
    uint32_t number = 65535; /* what a connection's initial window is */

    enum h2_error error = decoders[frame->type](frame, &number);
    if (error == H2_NO_ERROR)
        (void)snprintf(text, n, "%u", number);
    return error;
}

static enum h2_error decode(const struct h2_frame *frame, char *text, size_t n)
{
    switch (frame->type) {
    case H2_DATA:
        return decode_data(frame, text, n);
    case H2_HEADERS:
        return decode_headers(frame, text, n);
    case H2_PING:
        return decode_ping(frame, text, n);
    default:
        return decode_number(frame, text, n);
    }
}

#define BYTES(literal) (literal), sizeof(literal) - 1

static const struct {
    enum h2_frame_type type;
    uint8_t flags;
    uint32_t id;
    const char *payload;
    size_t n;
    enum h2_error error;
    const char *text;
} payloads[] = {
    { H2_DATA, 0, 1, BYTES("abc"), H2_NO_ERROR, "abc" },
    { H2_DATA, 0, 1, BYTES(""), H2_NO_ERROR, "" },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES("\2abc\0\0"), H2_NO_ERROR, "abc" },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES("\0abc"), H2_NO_ERROR, "abc" },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES("\3\0\0\0"), H2_NO_ERROR, "" },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES("\4\0\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES("\377\0\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_DATA, H2_FLAG_PADDED, 1, BYTES(""), H2_FRAME_SIZE_ERROR, NULL },
    { H2_DATA, 0, 0, BYTES("abc"), H2_PROTOCOL_ERROR, NULL },

    { H2_HEADERS, 0, 1, BYTES("abc"), H2_NO_ERROR, "abc/0" },
    { H2_HEADERS, H2_FLAG_PADDED, 1, BYTES("\2abc\0\0"), H2_NO_ERROR, "abc/0" },
    { H2_HEADERS, H2_FLAG_PADDED, 1, BYTES("\6abc\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_HEADERS, H2_FLAG_PADDED, 1, BYTES(""), H2_FRAME_SIZE_ERROR, NULL },
    { H2_HEADERS, H2_FLAG_PRIORITY, 1, BYTES("\0\0\0\7\1abc"), H2_NO_ERROR, "abc/7" },
    { H2_HEADERS, H2_FLAG_PRIORITY, 1, BYTES("\200\0\0\7\1abc"), H2_NO_ERROR, "abc/7" },
    { H2_HEADERS, H2_FLAG_PRIORITY, 1, BYTES("\0\0\0\7\1"), H2_NO_ERROR, "/7" },
    { H2_HEADERS, H2_FLAG_PRIORITY, 1, BYTES("\0\0\0\7"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_HEADERS, H2_FLAG_PRIORITY | H2_FLAG_PADDED, 1, BYTES("\1\0\0\0\7\1abc\0"), H2_NO_ERROR,
      "abc/7" },
    { H2_HEADERS, H2_FLAG_PRIORITY | H2_FLAG_PADDED, 1, BYTES("\1\0\0\0\7\1"), H2_PROTOCOL_ERROR,
      NULL },
    { H2_HEADERS, H2_FLAG_PRIORITY | H2_FLAG_PADDED, 1, BYTES("\0\0\0\0\7"), H2_FRAME_SIZE_ERROR,
      NULL },
    { H2_HEADERS, 0, 0, BYTES("abc"), H2_PROTOCOL_ERROR, NULL },

    { H2_PRIORITY, 0, 1, BYTES("\200\0\0\5\1"), H2_NO_ERROR, "5" },
    { H2_PRIORITY, 0, 1, BYTES("\0\0\0\5"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_PRIORITY, 0, 1, BYTES("\0\0\0\5\1\1"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_PRIORITY, 0, 0, BYTES("\0\0\0\5\1"), H2_PROTOCOL_ERROR, NULL },

    { H2_RST_STREAM, 0, 1, BYTES("\0\0\0\10"), H2_NO_ERROR, "8" },
    { H2_RST_STREAM, 0, 1, BYTES("\377\377\377\377"), H2_NO_ERROR, "4294967295" },
    { H2_RST_STREAM, 0, 1, BYTES("\0\0\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_RST_STREAM, 0, 1, BYTES("\0\0\0\10\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_RST_STREAM, 0, 0, BYTES("\0\0\0\10"), H2_PROTOCOL_ERROR, NULL },

    { H2_SETTINGS, 0, 0, BYTES(""), H2_NO_ERROR, "65535" },
    { H2_SETTINGS, 0, 0, BYTES("\0\4\0\0\0\7"), H2_NO_ERROR, "7" },
    { H2_SETTINGS, 0, 0, BYTES("\0\4\0\0\0\7\0\4\0\0\0\10"), H2_NO_ERROR, "8" },
    { H2_SETTINGS, 0, 0, BYTES("\0\4\177\377\377\377"), H2_NO_ERROR, "2147483647" },
    { H2_SETTINGS, 0, 0, BYTES("\0\4\200\0\0\0"), H2_FLOW_CONTROL_ERROR, NULL },
    { H2_SETTINGS, 0, 0, BYTES("\0\1\377\377\377\377"), H2_NO_ERROR, "65535" },
    { H2_SETTINGS, 0, 0, BYTES("\0\2\0\0\0\1"), H2_NO_ERROR, "65535" },
    { H2_SETTINGS, 0, 0, BYTES("\0\2\0\0\0\2"), H2_PROTOCOL_ERROR, NULL },
    { H2_SETTINGS, 0, 0, BYTES("\0\5\0\0\100\0"), H2_NO_ERROR, "65535" },
    { H2_SETTINGS, 0, 0, BYTES("\0\5\0\0\77\377"), H2_PROTOCOL_ERROR, NULL },
    { H2_SETTINGS, 0, 0, BYTES("\0\5\1\0\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_SETTINGS, 0, 0, BYTES("\377\377\1\0\0\0"), H2_NO_ERROR, "65535" }, /* unknown */
    { H2_SETTINGS, 0, 0, BYTES("\0\4\0\0\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_SETTINGS, 0, 0, BYTES("\0\4\0\0\0\7\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_SETTINGS, 0, 1, BYTES(""), H2_PROTOCOL_ERROR, NULL },
    { H2_SETTINGS, H2_FLAG_ACK, 0, BYTES(""), H2_NO_ERROR, "65535" },
    { H2_SETTINGS, H2_FLAG_ACK, 0, BYTES("\0\4\0\0\0\7"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_SETTINGS, H2_FLAG_ACK, 1, BYTES(""), H2_PROTOCOL_ERROR, NULL },

    { H2_PING, 0, 0, BYTES("12345678"), H2_NO_ERROR, "12345678" },
    { H2_PING, H2_FLAG_ACK, 0, BYTES("12345678"), H2_NO_ERROR, "12345678" },
    { H2_PING, 0, 0, BYTES("1234567"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_PING, 0, 0, BYTES("123456789"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_PING, 0, 1, BYTES("12345678"), H2_PROTOCOL_ERROR, NULL },

    { H2_GOAWAY, 0, 0, BYTES("\0\0\0\1\0\0\0\2"), H2_NO_ERROR, "2" },
    { H2_GOAWAY, 0, 0, BYTES("\0\0\0\1\0\0\0\2why"), H2_NO_ERROR, "2" },
    { H2_GOAWAY, 0, 0, BYTES("\0\0\0\1\0\0\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_GOAWAY, 0, 1, BYTES("\0\0\0\1\0\0\0\2"), H2_PROTOCOL_ERROR, NULL },

    { H2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\1"), H2_NO_ERROR, "1" },
    { H2_WINDOW_UPDATE, 0, 1, BYTES("\177\377\377\377"), H2_NO_ERROR, "2147483647" },
    { H2_WINDOW_UPDATE, 0, 1, BYTES("\200\0\0\1"), H2_NO_ERROR, "1" }, /* a reserved bit */
    { H2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_WINDOW_UPDATE, 0, 1, BYTES("\200\0\0\0"), H2_PROTOCOL_ERROR, NULL },
    { H2_WINDOW_UPDATE, 0, 1, BYTES("\0\0\0"), H2_FRAME_SIZE_ERROR, NULL },
    { H2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\1\1"), H2_FRAME_SIZE_ERROR, NULL },
};

/* Not a byte after the end: an over-read is seen by the sanitizer. */
static void check_payload(size_t row)
{
    char text[64] = "unwritten";
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, payloads[row].n > 0 ? payloads[row].n : 1);
    struct h2_frame frame = {
        .length = (uint32_t)payloads[row].n,
        .type = (uint8_t)payloads[row].type,
        .flags = payloads[row].flags,
        .stream_id = payloads[row].id,
        .payload = bytes,
    };

    memcpy(bytes, payloads[row].payload, payloads[row].n);
    enum h2_error error = decode(&frame, text, sizeof(text));
    if (error != payloads[row].error)
        fail_msg("row %zu: %s", row, h2_error_name(error));
    if (strcmp(text, payloads[row].text != NULL ? payloads[row].text : "unwritten") != 0)
        fail_msg("row %zu: '%s'", row, text);
}

static void test_payloads_are_checked_and_unpadded(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof(payloads) / sizeof(payloads[0]); row++)
        check_payload(row);
}

/* --- frames ---------------------------------------------------------------------------------- */

static void test_frames_are_written_and_read_alike(void **state)
{
    static const size_t lengths[] = { 0, 1, 255, 256, H2_FRAME_PAYLOAD_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (unsigned type = 0; type < H2_FRAME_TYPE_MAX; type++) {
            CLEANUP_FREE uint8_t *bytes = alloc_zero(1, H2_FRAME_HEADER_SIZE + lengths[i]);
            struct h2_frame frame = {};
            size_t size = 0;

            uint8_t *end = h2_codec_encode_frame_header(bytes, lengths[i], type, 0x2c, 0x7ffffff1);
            assert_ptr_equal(end, bytes + H2_FRAME_HEADER_SIZE);
            assert_int_equal(h2_codec_frame_size(bytes, &size), H2_NO_ERROR);
            assert_int_equal(size, H2_FRAME_HEADER_SIZE + lengths[i]);
            assert_int_equal(h2_codec_decode_frame(bytes, size, &frame), H2_NO_ERROR);
            assert_int_equal(frame.length, lengths[i]);
            assert_int_equal(frame.type, type);
            assert_int_equal(frame.flags, 0x2c);
            assert_int_equal(frame.stream_id, 0x7ffffff1);
            assert_ptr_equal(frame.payload, end);
        }
}

static void test_reserved_bit_of_a_stream_id_is_ignored(void **state)
{
    static const uint8_t bytes[] = { 0, 0, 0, H2_PING, 0, 0x80, 0, 0, 3 };
    struct h2_frame frame = {};

    (void)state;
    assert_int_equal(h2_codec_decode_frame(bytes, sizeof(bytes), &frame), H2_NO_ERROR);
    assert_int_equal(frame.stream_id, 3);
}

static void test_frames_above_the_maximum_are_refused_by_their_header(void **state)
{
    static const uint8_t headers[][H2_FRAME_HEADER_SIZE] = {
        { 0, 0x40, 1, H2_DATA, 0, 0, 0, 0, 1 },
        { 0xff, 0xff, 0xff, H2_DATA, 0, 0, 0, 0, 1 },
        { 1, 0, 0, 0xee, 0, 0, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct h2_frame frame = {};
        size_t size = 7;

        assert_int_equal(h2_codec_frame_size(headers[i], &size), H2_FRAME_SIZE_ERROR);
        assert_int_equal(size, 7);
        assert_int_equal(h2_codec_decode_frame(headers[i], sizeof(headers[i]), &frame),
                         H2_FRAME_SIZE_ERROR);
    }
}

static void test_settings_are_written_as_six_bytes(void **state)
{
    uint8_t bytes[6];
    static const uint8_t expected[] = { 0, 4, 0x12, 0x34, 0x56, 0x78 };

    (void)state;
    uint8_t *end = h2_codec_encode_setting(bytes, H2_SETTING_INITIAL_WINDOW_SIZE, 0x12345678);
    assert_ptr_equal(end, bytes + sizeof(bytes));
    assert_memory_equal(bytes, expected, sizeof(expected));
}

static void test_every_error_has_a_name(void **state)
{
    (void)state;
    for (uint32_t error = 0; error < H2_ERROR_MAX; error++)
        assert_non_null(h2_error_name(error));
    assert_string_equal(h2_error_name(H2_NO_ERROR), "NO_ERROR");
    assert_string_equal(h2_error_name(H2_HTTP_1_1_REQUIRED), "HTTP_1_1_REQUIRED");
    assert_string_equal(h2_error_name(H2_ERROR_MAX), "an unknown error");
    assert_string_equal(h2_error_name(UINT32_MAX), "an unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_payloads_are_checked_and_unpadded),
        FD_LEAK_TEST(test_frames_are_written_and_read_alike),
        FD_LEAK_TEST(test_reserved_bit_of_a_stream_id_is_ignored),
        FD_LEAK_TEST(test_frames_above_the_maximum_are_refused_by_their_header),
        FD_LEAK_TEST(test_settings_are_written_as_six_bytes),
        FD_LEAK_TEST(test_every_error_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
