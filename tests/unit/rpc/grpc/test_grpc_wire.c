#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/fd_leak.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

/* --- messages -------------------------------------------------------------------------------- */

/* Reads one message out of pieces of `n_piece` bytes that have nothing behind them; answers the
 * last result, and how many bytes were used. */
static int feed(struct grpc_reader *reader, const void *from, size_t n, size_t n_piece,
                size_t *ret_used)
{
    const uint8_t *bytes = from;
    size_t used = 0;
    int r = 0;

    while (r == 0 && used < n) {
        size_t part = n - used < n_piece ? n - used : n_piece, part_used = SIZE_MAX;
        CLEANUP_FREE uint8_t *piece = alloc_memdup(bytes + used, part);

        r = grpc_reader_feed(reader, piece, part, &part_used);
        assert_true(part_used <= part);
        if (r == 0)
            assert_int_equal(part_used, part);
        used += part_used;
    }
    *ret_used = used;
    return r;
}

static void test_messages_are_put_together_from_pieces_of_any_size(void **state)
{
    static const char bytes[] = "\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\1x";
    static const struct {
        const char *message;
        size_t n;
    } expected[] = { { BYTES("hello") }, { BYTES("") }, { BYTES("x") } };

    (void)state;
    for (size_t n_piece = 1; n_piece < sizeof(bytes); n_piece++) {
        struct grpc_reader reader = {};
        size_t at = 0;

        for (size_t i = 0; i < 3; i++) {
            size_t used;

            assert_true(grpc_reader_is_empty(&reader));
            assert_false(grpc_reader_is_whole(&reader));
            assert_int_equal(feed(&reader, bytes + at, sizeof(bytes) - 1 - at, n_piece, &used), 1);
            assert_true(grpc_reader_is_whole(&reader));
            assert_int_equal(reader.length, expected[i].n);
            if (expected[i].n > 0)
                assert_memory_equal(reader.bytes, expected[i].message, expected[i].n);
            at += used;
            grpc_reader_next(&reader);
        }
        assert_int_equal(at, sizeof(bytes) - 1);
    }
}

static void test_a_message_cut_anywhere_is_neither_whole_nor_empty(void **state)
{
    static const char bytes[] = "\0\0\0\0\5hello";

    (void)state;
    for (size_t n = 1; n < sizeof(bytes) - 1; n++) {
        struct grpc_reader reader = {};
        size_t used;

        assert_int_equal(feed(&reader, bytes, n, n, &used), 0);
        assert_false(grpc_reader_is_whole(&reader));
        assert_false(grpc_reader_is_empty(&reader));
        assert_int_equal(grpc_reader_feed(&reader, (const uint8_t *)"", 0, &used), 0);
        assert_int_equal(used, 0);
        grpc_reader_next(&reader);
    }
}

static const struct {
    const char *prefix;
    size_t n;
    int error;
} prefixes[] = {
    { BYTES("\1"), -EPROTO },                /* told by the first byte */
    { BYTES("\1\0\0\0\1x"), -EPROTO },
    { BYTES("\2"), -EBADMSG },
    { BYTES("\377\377\377\377\377"), -EBADMSG },
    { BYTES("\200\0\0\0\0"), -EBADMSG },
    { BYTES("\0\0\100\0\0"), 0 },            /* 4 MiB, of which nothing is there */
    { BYTES("\0\0\100\0\1"), -EMSGSIZE },
    { BYTES("\0\377\377\377\377"), -EMSGSIZE },
};

static void test_prefixes_are_refused_whole_or_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        for (size_t n_piece = 1; n_piece <= prefixes[i].n; n_piece++) {
            struct grpc_reader reader = {};
            size_t used;

            int r = feed(&reader, prefixes[i].prefix, prefixes[i].n, n_piece, &used);
            if (r != prefixes[i].error)
                fail_msg("row %zu: %d", i, r);
            assert_null(reader.bytes);
            grpc_reader_next(&reader);
        }
}

/* A length is a promise; memory is given for what has come. */
static void test_memory_grows_with_what_arrives(void **state)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, 1000);
    struct grpc_reader reader = {};
    size_t used, n = 0;

    (void)state;
    grpc_wire_prefix(bytes, GRPC_WIRE_MESSAGE_MAX);
    assert_int_equal(grpc_reader_room(&reader, 5), 5);
    assert_int_equal(grpc_reader_feed(&reader, bytes, 5, &used), 0);
    assert_int_equal(reader.n_allocated, 0);
    for (int r = 0; r == 0; n += used) {
        size_t room = grpc_reader_room(&reader, 1000);

        r = grpc_reader_feed(&reader, bytes, 1000, &used);
        assert_int_equal(reader.n_allocated, room); /* as foretold */
        assert_true(reader.n_allocated >= reader.n_bytes);
        assert_true(reader.n_allocated <= 2 * reader.n_bytes);
        assert_true(reader.n_allocated <= GRPC_WIRE_MESSAGE_MAX);
    }
    assert_int_equal(n, GRPC_WIRE_MESSAGE_MAX);
    grpc_reader_next(&reader);
    assert_null(reader.bytes);
}

static void test_prefix_is_written_big_endian(void **state)
{
    uint8_t bytes[GRPC_WIRE_PREFIX_SIZE];

    (void)state;
    grpc_wire_prefix(bytes, 0x00345678);
    assert_memory_equal(bytes, "\0\0\x34\x56\x78", 5);
}

/* --- timeouts -------------------------------------------------------------------------------- */

#define NONE UINT64_MAX

static const struct {
    const char *s;
    uint64_t usec;
} timeouts[] = {
    { "1H", 3600000000 },
    { "2M", 120000000 },
    { "3S", 3000000 },
    { "1999m", 1999000 },
    { "5u", 5 },
    { "7000n", 7 },
    { "999n", 0 },
    { "0S", 0 },
    { "00000001S", 1000000 },
    { "99999999H", 99999999 * UINT64_C(3600000000) },
    { "123456789S", NONE }, /* nine digits */
    { "", NONE },
    { "S", NONE },
    { "1", NONE },
    { "1s", NONE },
    { "1h", NONE },
    { "1SS", NONE },
    { "-1S", NONE },
    { "+1S", NONE },
    { " 1S", NONE },
    { "1 S", NONE },
    { "1S ", NONE },
    { "1.5S", NONE },
    { "0x1S", NONE },
};

static void test_timeouts_are_up_to_eight_digits_and_a_unit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        uint64_t usec = NONE;
        /* exactly as long as it is */
        size_t n = strlen(timeouts[i].s);
        CLEANUP_FREE char *s = alloc_memdup(timeouts[i].s, n > 0 ? n : 1);

        int r = grpc_wire_parse_timeout(s, n, &usec);
        if (r != (timeouts[i].usec == NONE ? -EINVAL : 0) || usec != timeouts[i].usec)
            fail_msg("'%s': %d", timeouts[i].s, r);
    }
    uint64_t usec;
    assert_int_equal(grpc_wire_parse_timeout("1\0", 2, &usec), -EINVAL);
}

/* --- content types --------------------------------------------------------------------------- */

static const struct {
    const char *s;
    bool is_grpc;
} content_types[] = {
    { "application/grpc", true },
    { "application/grpc+proto", true },
    { "application/grpc;charset=utf-8", true },
    { "application/grpc ; charset=utf-8", true },
    { "application/grpc+proto;x=y", true },
    { "application/grpc+json", false },
    { "application/grpc+protobuf", false },
    { "application/grpc-web", false },
    { "application/grpc-web+proto", false },
    { "application/grpcx", false },
    { "application/grp", false },
    { "application/json", false },
    { "text/plain", false },
    { "", false },
};

static void test_only_grpc_with_protobuf_is_our_content_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(content_types) / sizeof(content_types[0]); i++) {
        size_t n = strlen(content_types[i].s);
        CLEANUP_FREE char *s = alloc_memdup(content_types[i].s, n > 0 ? n : 1);

        if (grpc_wire_is_content_type(s, n) != content_types[i].is_grpc)
            fail_msg("'%s'", content_types[i].s);
    }
}

/* --- text ------------------------------------------------------------------------------------ */

static void test_messages_are_percent_encoded(void **state)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "plain text ~!\"", "plain text ~!\"" },
        { "100%", "100%25" },
        { " ", "%20" },
        { "  a b ", "%20 a b%20" }, /* a field's value has no blanks at its ends */
        { "a\nb\tc\x7f", "a%0Ab%09c%7F" },
        { "\xc3\xa4\xff", "%C3%A4%FF" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP_FREE char *encoded = grpc_wire_percent_encode(rows[i][0]);

        assert_string_equal(encoded, rows[i][1]);
    }
}

/* RFC 4648 section 10, without the padding. */
static void test_base64_is_the_rfc_s_without_padding(void **state)
{
    static const char *const rows[][2] = {
        { "", "" },           { "f", "Zg" },         { "fo", "Zm8" },
        { "foo", "Zm9v" },    { "foob", "Zm9vYg" },  { "fooba", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy" }, { "\xff\xfe\xfb", "//77" }, { "\xfb\xf0", "+/A" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = strlen(rows[i][0]);
        CLEANUP_FREE uint8_t *bytes = alloc_memdup(rows[i][0], n > 0 ? n : 1);
        CLEANUP_FREE char *encoded = grpc_wire_base64(bytes, n);

        assert_string_equal(encoded, rows[i][1]);
    }
}

static void test_base64_is_read_with_and_without_padding(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {
        { "", "" },          { "Zg", "f" },         { "Zg==", "f" },
        { "Zm8", "fo" },     { "Zm8=", "fo" },      { "Zm9v", "foo" },
        { "Zm9vYg", "foob" }, { "Zm9vYg==", "foob" }, { "+/+/", "\xfb\xff\xbf" },
    };
    static const char *const bad[] = { "Z", "Z===", "Zg=", "Zg===", "====", "=", "==", "Zm9=v",
                                       "Zm-v", "Zm_v", "Zm v", "Zm9vZ", "Zm8=Zm8=", "\xff\xff" };
    uint8_t bytes[16];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(
            grpc_wire_decode_base64(good[i].text, strlen(good[i].text), bytes, &n), 0);
        assert_int_equal(n, strlen(good[i].bytes));
        assert_memory_equal(bytes, good[i].bytes, n);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(grpc_wire_decode_base64(bad[i], strlen(bad[i]), bytes, &n), -EBADMSG);
}

/* Into exactly the memory that is promised to be enough. */
static void test_base64_of_any_length_comes_back(void **state)
{
    uint8_t bytes[70];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 200);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        CLEANUP_FREE char *text = grpc_wire_base64(bytes, n);
        CLEANUP_FREE uint8_t *back = alloc_zero(1, strlen(text) / 4 * 3 + 2);
        size_t n_back;

        assert_int_equal(grpc_wire_decode_base64(text, strlen(text), back, &n_back), 0);
        assert_int_equal(n_back, n);
        assert_memory_equal(back, bytes, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_messages_are_put_together_from_pieces_of_any_size),
        FD_LEAK_TEST(test_a_message_cut_anywhere_is_neither_whole_nor_empty),
        FD_LEAK_TEST(test_prefixes_are_refused_whole_or_in_pieces),
        FD_LEAK_TEST(test_memory_grows_with_what_arrives),
        FD_LEAK_TEST(test_prefix_is_written_big_endian),
        FD_LEAK_TEST(test_timeouts_are_up_to_eight_digits_and_a_unit),
        FD_LEAK_TEST(test_only_grpc_with_protobuf_is_our_content_type),
        FD_LEAK_TEST(test_messages_are_percent_encoded),
        FD_LEAK_TEST(test_base64_is_the_rfc_s_without_padding),
        FD_LEAK_TEST(test_base64_is_read_with_and_without_padding),
        FD_LEAK_TEST(test_base64_of_any_length_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
