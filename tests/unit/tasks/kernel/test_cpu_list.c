#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tasks/kernel/cpu_list.h"
#include "tests/support/fd_leak.h"

static void assert_mask(const char *text, const char *expected, size_t n_bytes)
{
    uint8_t mask[CPU_LIST_BYTES];
    size_t n = SIZE_MAX;

    memset(mask, 0xff, sizeof(mask)); /* what was there does not shine through */
    assert_int_equal(cpu_list_parse(text, mask, &n), 0);
    assert_int_equal(n, n_bytes);
    assert_memory_equal(mask, expected, n_bytes);
    for (size_t i = n; i < sizeof(mask); i++)
        assert_int_equal(mask[i], 0);
}

#define ASSERT_MASK(text, bytes) assert_mask((text), (bytes), sizeof(bytes) - 1)

static void test_nothing_is_the_empty_list(void **state)
{
    (void)state;
    ASSERT_MASK(NULL, "");
    ASSERT_MASK("", "");
}

static void test_lists_and_ranges_become_bits(void **state)
{
    (void)state;
    ASSERT_MASK("0", "\x01");
    ASSERT_MASK("7", "\x80");
    ASSERT_MASK("8", "\x00\x01");
    ASSERT_MASK("0,2-3", "\x0d");
    ASSERT_MASK("2-3,0", "\x0d");
    ASSERT_MASK("4-4", "\x10");
    ASSERT_MASK("6-9", "\xc0\x03");
    ASSERT_MASK("1,1,0-2", "\x07");
    ASSERT_MASK("15,0", "\x01\x80");
    ASSERT_MASK("007", "\x80");
}

static void test_last_cpu_is_taken_and_no_further(void **state)
{
    uint8_t mask[CPU_LIST_BYTES];
    size_t n = 7;

    (void)state;
    assert_int_equal(cpu_list_parse("8191", mask, &n), 0);
    assert_int_equal(n, CPU_LIST_BYTES);
    assert_int_equal(mask[CPU_LIST_BYTES - 1], 0x80);
    assert_int_equal(cpu_list_parse("0-8191", mask, &n), 0);
    for (size_t i = 0; i < sizeof(mask); i++)
        assert_int_equal(mask[i], 0xff);
    assert_int_equal(cpu_list_parse("8192", mask, &n), -EINVAL);
    assert_int_equal(cpu_list_parse("0-8192", mask, &n), -EINVAL);
    assert_int_equal(cpu_list_parse("4294967296", mask, &n), -EINVAL);
    assert_int_equal(cpu_list_parse("99999999999999999999999", mask, &n), -EINVAL);
}

static void test_anything_else_is_refused(void **state)
{
    static const char *const wrong[] = { ",",   "0,",  ",0",   "0,,1", "-",    "-1", "1-", "3-2",
                                         "1--2", "1-2-3", "a", "0x1",  " 0",   "0 ", "0;1", "0.1",
                                         "+1",  "0-1,", "all", "0\n",  "\xff" };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t mask[CPU_LIST_BYTES];
        size_t n = 77;
        if (cpu_list_parse(wrong[i], mask, &n) != -EINVAL)
            fail_msg("'%s' is taken for a list", wrong[i]);
        assert_int_equal(n, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_nothing_is_the_empty_list),
        FD_LEAK_TEST(test_lists_and_ranges_become_bits),
        FD_LEAK_TEST(test_last_cpu_is_taken_and_no_further),
        FD_LEAK_TEST(test_anything_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
