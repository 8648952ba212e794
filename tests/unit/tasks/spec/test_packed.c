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
#include "tasks/spec/packed.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/pack.h"

static int read_bytes(const void *bytes, size_t n_bytes, struct fail *fail)
{
    CLEANUP(msgpack_unpacked_destroy) msgpack_unpacked unpacked = {};
    /* Heap without a byte to spare, so that the sanitizer sees each read beyond the end. */
    CLEANUP_FREE uint8_t *copy = alloc_memdup(bytes, n_bytes);

    return packed_read(copy, n_bytes, &unpacked, fail);
}

#define READ(literal, fail) read_bytes((literal), sizeof(literal) - 1, (fail))

static void assert_refused(const void *bytes, size_t n_bytes, int error, const char *text)
{
    CLEANUP_FAIL struct fail fail = {};

    assert_int_equal(read_bytes(bytes, n_bytes, &fail), error);
    assert_string_equal(fail_text(&fail), text);
}

#define ASSERT_REFUSED(literal, error, text) \
    assert_refused((literal), sizeof(literal) - 1, (error), (text))

static void test_every_width_of_every_type_is_read(void **state)
{
    (void)state;
    assert_int_equal(READ("\xc0", NULL), 0);
    assert_int_equal(
        READ("\x9f\x00\x7f\xe0\xff\xc2\xc3"
             "\xcc\x01\xcd\x01\x02\xce\x01\x02\x03\x04\xcf\x01\x02\x03\x04\x05\x06\x07\x08"
             "\xd0\x01\xd1\x01\x02\xd2\x01\x02\x03\x04\xd3\x01\x02\x03\x04\x05\x06\x07\x08"
             "\xa1x",
             NULL),
        0);
    assert_int_equal(READ("\x98\xca\x3f\x80\x00\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
                          "\xd9\x01x\xda\x00\x01x\xdb\x00\x00\x00\x01x"
                          "\xc4\x01x\xc5\x00\x01x\xc6\x00\x00\x00\x01x",
                          NULL),
                     0);
    assert_int_equal(READ("\xdc\x00\x03\xdd\x00\x00\x00\x01\xc0\xde\x00\x01\xa1k\xc0\x81\xa1k\xdf"
                          "\x00\x00\x00\x01\xa1k\xc0",
                          NULL),
                     0);
}

static void test_input_cut_at_any_byte_is_refused(void **state)
{
    CLEANUP(packed_done)
    struct packed packed = pack(
        "{'image': 'debian', 'l': ['a', 1000, 100000, -7, 0.5, null], 'm': [{'k': true}]}");

    (void)state;
    for (size_t n = 0; n < packed.n_bytes; n++) {
        CLEANUP_FAIL struct fail fail = {};
        assert_int_equal(read_bytes(packed.bytes, n, &fail), -EINVAL);
        assert_non_null(strstr(fail_text(&fail), "cut short"));
    }
    assert_int_equal(read_bytes(packed.bytes, packed.n_bytes, NULL), 0);
}

static void test_any_change_of_a_byte_is_read_or_refused(void **state)
{
    CLEANUP(packed_done) struct packed packed = pack("{'a': ['b', 1000], 'm': [{'k': true}]}");

    (void)state;
    for (size_t i = 0; i < packed.n_bytes; i++) {
        uint8_t before = packed.bytes[i];
        for (unsigned value = 0; value < 256; value++) {
            CLEANUP_FAIL struct fail fail = {};
            packed.bytes[i] = (uint8_t)value;
            int r = read_bytes(packed.bytes, packed.n_bytes, &fail);
            assert_true(r == 0 || (r == fail.error && fail.message != NULL));
        }
        packed.bytes[i] = before;
    }
}

static void test_announced_sizes_are_not_believed(void **state)
{
    (void)state;
    ASSERT_REFUSED("\xdd\xff\xff\xff\xff", -EINVAL, "not valid msgpack: cut short at byte 5");
    ASSERT_REFUSED("\xdf\xff\xff\xff\xff\xc0", -EINVAL, "not valid msgpack: cut short at byte 6");
    ASSERT_REFUSED("\xdb\xff\xff\xff\xff", -EINVAL, "not valid msgpack: cut short at byte 5");
    ASSERT_REFUSED("\xc6\xff\xff\xff\xffx", -EINVAL, "not valid msgpack: cut short at byte 6");
}

static void test_what_no_config_holds_is_refused(void **state)
{
    static const char kind[] =
        "not valid msgpack: a kind of value that has no place here at byte 0";

    (void)state;
    ASSERT_REFUSED("\xc1", -EINVAL, kind);
    ASSERT_REFUSED("\xc7\x00\x01", -EINVAL, kind);
    ASSERT_REFUSED("\xd4\x01\x02", -EINVAL, kind);
    ASSERT_REFUSED("\xc0\xc0", -EINVAL, "not valid msgpack: something behind the end at byte 1");
}

/* The value in the innermost array is a level, too. */
static void test_depth_is_limited(void **state)
{
    char bytes[PACKED_READ_DEPTH_MAX + 1];

    (void)state;
    memset(bytes, 0x91, sizeof(bytes));
    bytes[PACKED_READ_DEPTH_MAX - 1] = (char)0xc0;
    assert_int_equal(read_bytes(bytes, PACKED_READ_DEPTH_MAX, NULL), 0);
    bytes[PACKED_READ_DEPTH_MAX - 1] = (char)0x91;
    bytes[PACKED_READ_DEPTH_MAX] = (char)0xc0;
    assert_refused(bytes, sizeof(bytes), -E2BIG, "nested deeper than 8 levels");
}

static void test_text_of_no_bytes_is_text(void **state)
{
    static const char *const empty[] = { "\xa0", "\xc4\x00" };

    (void)state;
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        CLEANUP(msgpack_unpacked_destroy) msgpack_unpacked unpacked = {};
        const char *text = NULL;
        size_t n_bytes = 7;
        assert_int_equal(packed_read((const uint8_t *)empty[i], i + 1, &unpacked, NULL), 0);
        assert_true(packed_text(&unpacked.data, &text, &n_bytes));
        assert_non_null(text);
        assert_int_equal(n_bytes, 0);
    }
}

static void test_items_and_bytes_are_limited(void **state)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(PACKED_READ_BYTES_MAX + 1, 1);

    (void)state;
    memcpy(bytes, "\xdd\x00\x02\x00\x00", 5); /* 131072 items and their array */
    assert_refused(bytes, PACKED_READ_ITEMS_MAX + 5, -E2BIG, "more than 131072 values");
    assert_refused(bytes, PACKED_READ_BYTES_MAX + 1, -E2BIG,
                   "1048577 bytes; at most 1048576 are taken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_width_of_every_type_is_read),
        FD_LEAK_TEST(test_input_cut_at_any_byte_is_refused),
        FD_LEAK_TEST(test_any_change_of_a_byte_is_read_or_refused),
        FD_LEAK_TEST(test_announced_sizes_are_not_believed),
        FD_LEAK_TEST(test_what_no_config_holds_is_refused),
        FD_LEAK_TEST(test_depth_is_limited),
        FD_LEAK_TEST(test_text_of_no_bytes_is_text),
        FD_LEAK_TEST(test_items_and_bytes_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
