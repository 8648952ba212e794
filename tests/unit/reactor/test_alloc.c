#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/expect_abort.h"
#include "tests/support/fd_leak.h"

/* Sizes that the compiler can't see through. */
static volatile size_t huge = SIZE_MAX;

static void overflow_zero(void *data)
{
    (void)data;
    free(alloc_zero(huge / 2, 3));
}

static void overflow_grow(void *data)
{
    (void)data;
    free(alloc_grow(NULL, huge / 8, 16));
}

static void exhaust_zero(void *data)
{
    (void)data;
    free(alloc_zero(1, huge / 4));
}

static void exhaust_memdup(void *data)
{
    (void)data;
    free(alloc_memdup("", huge / 4));
}

/* The sanitizer would end the process in its own way at a size that no heap has; with this option
 * in the environment it answers NULL, as the C library does. It is read before main(). */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_size_that_overflows_aborts(void **state)
{
    (void)state;
    expect_abort(overflow_zero, NULL);
    expect_abort(overflow_grow, NULL);
}

static void test_memory_that_is_not_there_aborts(void **state)
{
    (void)state;
    expect_abort(exhaust_zero, NULL);
    expect_abort(exhaust_memdup, NULL);
}

static void test_memory_is_zeroed(void **state)
{
    static const char zeros[4096];

    (void)state;
    CLEANUP_FREE char *p = alloc_zero(64, 64);
    assert_memory_equal(p, zeros, sizeof(zeros));
}

static void test_nothing_is_an_allocation_too(void **state)
{
    CLEANUP_FREE void *zero = alloc_zero(0, 8), *grown = alloc_grow(NULL, 0, 8),
                      *copy = alloc_memdup(NULL, 0), *text = alloc_strndup("abc", 0);

    (void)state;
    assert_non_null(zero);
    assert_non_null(grown);
    assert_non_null(copy);
    assert_string_equal(text, "");
}

static void test_growing_keeps_what_is_there(void **state)
{
    unsigned *numbers = NULL;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        numbers = alloc_grow(numbers, i + 1, sizeof(*numbers));
        numbers[i] = i;
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    free(numbers);
}

static void test_copies_are_whole(void **state)
{
    CLEANUP_FREE char *bytes = alloc_memdup("a\0b", 3), *text = alloc_strdup("text"),
                      *cut = alloc_strndup("text", 2), *printed = alloc_printf("%s %d", "n", 7);

    (void)state;
    assert_memory_equal(bytes, "a\0b", 3);
    assert_string_equal(text, "text");
    assert_string_equal(cut, "te");
    assert_string_equal(printed, "n 7");
    assert_null(alloc_strdup(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_size_that_overflows_aborts),
        FD_LEAK_TEST(test_memory_that_is_not_there_aborts),
        FD_LEAK_TEST(test_memory_is_zeroed),
        FD_LEAK_TEST(test_nothing_is_an_allocation_too),
        FD_LEAK_TEST(test_growing_keeps_what_is_there),
        FD_LEAK_TEST(test_copies_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
