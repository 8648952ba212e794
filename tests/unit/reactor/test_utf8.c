#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tests/support/fd_leak.h"

/* By the definition (RFC 3629, section 3), not by a table: shortest form, no surrogates. */
static size_t encode(uint32_t c, char to[4])
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

static void test_every_code_point_is_one_sequence(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char bytes[4];
        size_t n = encode(c, bytes);
        bool is_surrogate = c >= 0xd800 && c <= 0xdfff;
        if (utf8_sequence(bytes, n) != (is_surrogate ? 0 : n))
            fail_msg("U+%04X", c);
    }
}

static void test_no_other_bytes_are_a_sequence(void **state)
{
    size_t n_valid[4] = {};

    (void)state;
    /* All of up to three bytes; of four, one in the middle of each range is enough for the last. */
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (unsigned c = 0; c < 256; c++) {
                const char bytes[] = { (char)a, (char)b, (char)c, (char)0xa5 };
                size_t n = utf8_sequence(bytes, 4);
                assert_true(n <= 4);
                n_valid[0] += n == 1 && b == 0 && c == 0;
                n_valid[1] += n == 2 && c == 0;
                n_valid[2] += n == 3;
                n_valid[3] += n == 4;
            }
    assert_int_equal(n_valid[0], 0x80);
    assert_int_equal(n_valid[1], 0x800 - 0x80);
    assert_int_equal(n_valid[2], 0x10000 - 0x800 - 0x800);
    assert_int_equal(n_valid[3], 0x100000 / 64);
}

static void test_cut_sequences_are_none(void **state)
{
    static const char *const whole[] = { "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

    (void)state;
    assert_int_equal(utf8_sequence("", 0), 0);
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        for (size_t n = 0; n < strlen(whole[i]); n++) {
            /* Heap without a byte to spare, so that the sanitizer sees a read beyond the end. */
            CLEANUP_FREE char *cut = alloc_memdup(whole[i], n);
            assert_int_equal(utf8_sequence(cut, n), 0);
            assert_int_equal(utf8_is_valid(cut, n), n == 0);
        }
}

static void test_text_is_valid_when_all_of_it_is(void **state)
{
    (void)state;
    assert_true(utf8_is_valid("a\0b", 3));
    assert_true(utf8_is_valid("gr\xc3\xbc\xc3\x9f", 6));
    assert_false(utf8_is_valid("gr\xc3\xbc\xc3", 5));
    assert_false(utf8_is_valid("\xff", 1));
    assert_false(utf8_is_valid("\xc0\x80", 2));
    assert_false(utf8_is_valid("\xed\xa0\x80", 3));
    assert_false(utf8_is_valid("\xf4\x90\x80\x80", 4));
}

#define REPLACED "\xef\xbf\xbd"

static void assert_cleaned(const char *text, const char *expected)
{
    CLEANUP_FREE char *clean = utf8_clean(text);

    assert_string_equal(clean, expected);
    assert_true(utf8_is_valid(clean, strlen(clean)));
}

static void test_each_wrong_byte_is_replaced(void **state)
{
    (void)state;
    assert_cleaned("", "");
    assert_cleaned("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
    assert_cleaned("\xff", REPLACED);
    assert_cleaned("a\xff\xfe"
                   "b",
                   "a" REPLACED REPLACED "b");
    assert_cleaned("\xe2\x82", REPLACED REPLACED);
    assert_cleaned("\xe2\x82\xc3\xa4", REPLACED REPLACED "\xc3\xa4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_code_point_is_one_sequence),
        FD_LEAK_TEST(test_no_other_bytes_are_a_sequence),
        FD_LEAK_TEST(test_cut_sequences_are_none),
        FD_LEAK_TEST(test_text_is_valid_when_all_of_it_is),
        FD_LEAK_TEST(test_each_wrong_byte_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
