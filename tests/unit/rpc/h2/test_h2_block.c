/* Header blocks of h2_codec. */
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
#include "tests/support/rpc/h2/hpack.h"

#define CLEANUP_TABLE __attribute__((cleanup(free_table)))

static void free_table(struct h2_table **table)
{
    *table = h2_table_free(*table);
}

#define TEXT(literal) ((struct h2_text){ (literal), sizeof(literal) - 1 })

static void print(FILE *file, struct h2_text name, struct h2_text value)
{
    if (value.s == NULL)
        return;
    assert_int_equal(name.s[name.n], '\0');
    assert_int_equal(value.s[value.n], '\0');
    (void)fwrite(name.s, 1, name.n, file);
    (void)fprintf(file, ": %s\n", value.s);
}

static char *describe(const struct h2_headers *headers)
{
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);

    assert_non_null(file);
    print(file, TEXT(":method"), headers->method);
    print(file, TEXT(":path"), headers->path);
    print(file, TEXT(":authority"), headers->authority);
    if (headers->content_length >= 0)
        (void)fprintf(file, "content-length: %ld\n", (long)headers->content_length);
    for (size_t i = 0; i < headers->n_items; i++)
        print(file, headers->items[i].name, headers->items[i].value);
    (void)fclose(file);
    return text;
}

/* From a block without a byte behind it. */
static enum h2_error decode(struct h2_table *table, const void *block, size_t n,
                            enum h2_block_kind kind, char **ret_text, bool *ret_malformed)
{
    struct h2_headers headers;
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, n > 0 ? n : 1);

    memcpy(bytes, block, n);
    enum h2_error error =
        h2_codec_decode_block(table, (struct h2_slice){ bytes, n }, kind, &headers, ret_malformed);
    if (error == H2_NO_ERROR)
        *ret_text = describe(&headers);
    h2_codec_release();
    return error;
}

/* --- what another codec has written ---------------------------------------------------------- */

#define SHUTDOWN                                                                            \
    ":method: POST\n:scheme: http\n:path: /plugin.GRPCController/Shutdown\n"               \
    ":authority: unused\ncontent-type: application/grpc\nuser-agent: grpc-go/1.58.0\n"     \
    "te: trailers\n"

/* Requests of one connection, in this order: later ones name what earlier ones have put into the
 * table, and then push it out. */
static const char *const requests[] = {
    SHUTDOWN "grpc-timeout: 1999m\n",
    SHUTDOWN,
    ":method: GET\n:scheme: https\n:path: /\ncontent-length: 17\nx-empty: \nx-bin: \x80\xff\n",
    ":method: POST\n:scheme: http\n:path: /index.html\n:authority: a\ncookie: a=b\ncookie: c=d\n",
};

/* What the codec makes of them: scheme and te are checked and dropped. */
static char *without_lines(const char *lines, const char *const *names)
{
    char *text = alloc_strdup(lines), *line;

    for (; *names != NULL; names++)
        if ((line = strstr(text, *names)) != NULL) {
            const char *next = strchr(line, '\n') + 1;

            memmove(line, next, strlen(next) + 1);
        }
    return text;
}

static void assert_decodes(struct h2_table *table, struct hpack *hpack, const char *lines)
{
    static const char *const dropped[] = { ":scheme", NULL };
    uint8_t block[H2_HEADER_BLOCK_MAX];
    bool malformed = true;
    char *text = NULL;

    size_t n = hpack_encode(hpack, lines, block, sizeof(block));
    assert_int_equal(decode(table, block, n, H2_BLOCK_REQUEST, &text, &malformed), H2_NO_ERROR);
    assert_false(malformed);
    CLEANUP_FREE char *expected = without_lines(lines, dropped);
    assert_string_equal(text, expected);
    free(text);
}

static void test_requests_of_another_codec_are_read(void **state)
{
    CLEANUP_TABLE struct h2_table *table = h2_table_new();
    struct hpack hpack;

    (void)state;
    hpack_init(&hpack);
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
            assert_decodes(table, &hpack, requests[i]);
    hpack_done(&hpack);
}

/* Longer than the table: each header pushes all others out. */
static void test_tables_stay_in_step_while_headers_are_evicted(void **state)
{
    CLEANUP_TABLE struct h2_table *table = h2_table_new();
    struct hpack hpack;

    (void)state;
    hpack_init(&hpack);
    for (size_t n = 1; n < 2 * H2_HEADER_TABLE_MAX; n += 97) {
        CLEANUP_FREE char *value = alloc_zero(1, n + 1);

        memset(value, 'a' + (int)(n % 26), n);
        CLEANUP_FREE char *lines = alloc_printf(
            ":method: POST\n:scheme: http\n:path: /\nx-long: %s\nx-n: %zu\n", value, n / 500);
        assert_decodes(table, &hpack, lines);
    }
    hpack_done(&hpack);
}

/* --- malformed ------------------------------------------------------------------------------- */

#define BLOCK(literal) (literal), sizeof(literal) - 1
#define REQUEST "\x83\x86\x84" /* POST, http, / */

static const struct {
    enum h2_error error;
    const char *block;
    size_t n;
    bool malformed;
    enum h2_block_kind kind;
} blocks[] = {
    { H2_NO_ERROR, BLOCK(REQUEST) },
    { H2_NO_ERROR, BLOCK("") },
    { H2_NO_ERROR, BLOCK(""), false, H2_BLOCK_TRAILERS },
    { H2_COMPRESSION_ERROR, BLOCK("\x80") }, /* index 0 */
    { H2_COMPRESSION_ERROR, BLOCK("\xbe") }, /* index 62 of an empty table */
    { H2_COMPRESSION_ERROR, BLOCK("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f") },
    { H2_COMPRESSION_ERROR, BLOCK("\xff\x80\x80\x80\x80\x80\x80\x80") },
    { H2_COMPRESSION_ERROR, BLOCK("\xff") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x00") }, /* what is over-read unguarded */
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x01") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x01x") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x01x\x05" "abcd") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x01x\x7f\xff\xff\xff\x07" "abcd") },
    { H2_COMPRESSION_ERROR, BLOCK("\x40\x81\x00\x00") }, /* bad Huffman padding */
    { H2_NO_ERROR, BLOCK("\x3f\xe1\x1f" REQUEST) }, /* table of 4096 */
    { H2_COMPRESSION_ERROR, BLOCK("\x3f\xe2\x1f" REQUEST) }, /* of 4097 */
    { H2_PROTOCOL_ERROR, BLOCK("\x83\x83") }, /* :method twice */
    { H2_PROTOCOL_ERROR, BLOCK("\x00\x01x\x01y\x83") }, /* :method late */
    { H2_PROTOCOL_ERROR, BLOCK("\x00\x02:x\x01y") },
    { H2_PROTOCOL_ERROR, BLOCK("\x88") }, /* :status */
    { H2_PROTOCOL_ERROR, BLOCK("\x83"), false, H2_BLOCK_TRAILERS },
    { H2_NO_ERROR, BLOCK("\x00\x01x\x01y"), false, H2_BLOCK_TRAILERS },
    { H2_PROTOCOL_ERROR, BLOCK(REQUEST "\x00\x01X\x01y") },
    { H2_NO_ERROR, BLOCK(REQUEST "\x00\x03x y\x01y"), true },
    { H2_NO_ERROR, BLOCK(REQUEST "\x00\x03x\0y\x01y"), true },
    { H2_NO_ERROR, BLOCK(REQUEST "\x00\x01x\x03" "a\nb"), true },
    { H2_NO_ERROR, BLOCK(REQUEST "\x00\x01x\x03" "a\0b"), true },
    { H2_PROTOCOL_ERROR, BLOCK(REQUEST "\x00\x02te\x01x") },
    { H2_PROTOCOL_ERROR, BLOCK(REQUEST "\x0f\x0d\x01x") }, /* content-length */
    { H2_PROTOCOL_ERROR, BLOCK(REQUEST "\x0f\x0d\x02-1") },
    { H2_PROTOCOL_ERROR, BLOCK(REQUEST "\x0f\x0d\x17" "99999999999999999999999") },
};

static void test_malformed_blocks_end_the_connection_or_only_the_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        CLEANUP_TABLE struct h2_table *table = h2_table_new();
        CLEANUP_FREE char *text = NULL;
        bool malformed = false;
        enum h2_error error =
            decode(table, blocks[i].block, blocks[i].n, blocks[i].kind, &text, &malformed);
        if (error != blocks[i].error || malformed != blocks[i].malformed)
            fail_msg("row %zu: %s, %d", i, h2_error_name(error), malformed);
    }
}

/* Each piece of a whole block is malformed or a shorter list, and never reads beyond its end. */
static void test_every_cut_of_a_block_is_survived(void **state)
{
    uint8_t block[512];
    struct hpack hpack;

    (void)state;
    hpack_init(&hpack);
    size_t n = hpack_encode(&hpack, requests[0], block, sizeof(block));
    for (size_t from = 0; from < n; from++)
        for (size_t to = from; to <= n; to++) {
            CLEANUP_TABLE struct h2_table *table = h2_table_new();
            CLEANUP_FREE char *text = NULL;
            bool malformed;

            (void)decode(table, block + from, to - from, H2_BLOCK_REQUEST, &text, &malformed);
        }
    hpack_done(&hpack);
}

/* A stream's fault is read to its end: the next request still finds what the peer has put in. */
static void test_table_is_in_step_after_a_malformed_block(void **state)
{
    static const char bad[] = REQUEST "\x40\x01x\x01\n" "\x40\x01y\x01z"; /* x and y go in */
    static const char next[] = REQUEST "\xbe";                            /* the newest: y */
    CLEANUP_TABLE struct h2_table *table = h2_table_new();
    char *text = NULL;
    bool malformed = false;

    (void)state;
    assert_int_equal(decode(table, BLOCK(bad), H2_BLOCK_REQUEST, &text, &malformed), H2_NO_ERROR);
    assert_true(malformed);
    free(text);
    assert_int_equal(decode(table, BLOCK(next), H2_BLOCK_REQUEST, &text, &malformed), H2_NO_ERROR);
    assert_false(malformed);
    assert_string_equal(text, ":method: POST\n:path: /\ny: z\n");
    free(text);
}

static void test_largest_block_is_read_and_a_larger_one_refused(void **state)
{
    CLEANUP_TABLE struct h2_table *table = h2_table_new();
    CLEANUP_FREE uint8_t *block = alloc_zero(1, H2_HEADER_BLOCK_MAX + 1);
    CLEANUP_FREE char *text = NULL;
    bool malformed = false;

    (void)state;
    /* a header a byte, the costliest there is: "accept-encoding: gzip, deflate" */
    memset(block, 0x90, H2_HEADER_BLOCK_MAX + 1);
    enum h2_error error =
        decode(table, block, H2_HEADER_BLOCK_MAX + 1, H2_BLOCK_TRAILERS, &text, &malformed);
    assert_int_equal(error, H2_ENHANCE_YOUR_CALM);
    error = decode(table, block, H2_HEADER_BLOCK_MAX, H2_BLOCK_TRAILERS, &text, &malformed);
    assert_int_equal(error, H2_NO_ERROR);
    assert_int_equal(strlen(text),
                     H2_HEADER_BLOCK_MAX * strlen("accept-encoding: gzip, deflate\n"));
}

/* --- what we write --------------------------------------------------------------------------- */

static void test_headers_written_are_read_by_another_codec(void **state)
{
    static const char *const values[] = { "", "0", "application/grpc", "~~~~\\\\\\^^^", "{|}\x7f" };
    struct hpack hpack;

    (void)state;
    hpack_init(&hpack);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t n = strlen(values[i]), room = h2_codec_header_room("x-name", n);
        CLEANUP_FREE uint8_t *block = alloc_zero(1, room);

        uint8_t *end = h2_codec_encode_header(block, "x-name", values[i], n);
        assert_true((size_t)(end - block) <= room);
        CLEANUP_FREE char *text = hpack_decode(&hpack, block, (size_t)(end - block));
        CLEANUP_FREE char *expected = alloc_printf("x-name: %s\n", values[i]);
        assert_string_equal(text, expected);
    }
    hpack_done(&hpack);
}

/* Bytes that Huffman coding makes longest, in exactly the room asked for. */
static void test_room_of_a_header_suffices_for_any_length(void **state)
{
    (void)state;
    for (size_t n = 0; n < 1000; n++) {
        size_t room = h2_codec_header_room("x", n);
        CLEANUP_FREE uint8_t *block = alloc_zero(1, room);
        CLEANUP_FREE char *value = alloc_zero(1, n + 1);

        memset(value, n % 2 == 0 ? '\\' : '\x01', n);
        uint8_t *end = h2_codec_encode_header(block, "x", value, n);
        assert_true((size_t)(end - block) <= room);
    }
}

static void test_first_header_of_a_name_is_found(void **state)
{
    static const struct h2_header items[] = {
        { { "a", 1 }, { "1", 1 } }, { { "b", 1 }, { "2", 1 } }, { { "b", 1 }, { "3", 1 } }
    };
    const struct h2_headers headers = { .items = items, .n_items = 3 };

    (void)state;
    assert_true(h2_text_is(h2_headers_get(&headers, "b"), "2"));
    assert_null(h2_headers_get(&headers, "c").s);
    assert_null(h2_headers_get(&headers, "").s);
    assert_false(h2_text_is((struct h2_text){}, ""));
    assert_false(h2_text_is((struct h2_text){ "a\0b", 3 }, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_requests_of_another_codec_are_read),
        FD_LEAK_TEST(test_tables_stay_in_step_while_headers_are_evicted),
        FD_LEAK_TEST(test_malformed_blocks_end_the_connection_or_only_the_stream),
        FD_LEAK_TEST(test_every_cut_of_a_block_is_survived),
        FD_LEAK_TEST(test_table_is_in_step_after_a_malformed_block),
        FD_LEAK_TEST(test_largest_block_is_read_and_a_larger_one_refused),
        FD_LEAK_TEST(test_headers_written_are_read_by_another_codec),
        FD_LEAK_TEST(test_room_of_a_header_suffices_for_any_length),
        FD_LEAK_TEST(test_first_header_of_a_name_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
