#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tests/support/fd_leak.h"

static void test_list_ends_with_null_at_each_length(void **state)
{
    CLEANUP(strv_done) struct strv strv = {};

    (void)state;
    assert_null(strv.items);
    for (size_t n = 1; n <= 100; n++) {
        strv_printf(&strv, "item %zu", n);
        assert_int_equal(strv.n_items, n);
        assert_null(strv.items[n]);
    }
    assert_string_equal(strv.items[0], "item 1");
    assert_string_equal(strv.items[99], "item 100");
}

static void test_items_are_copies(void **state)
{
    CLEANUP(strv_done) struct strv strv = {}, copy = {};
    char text[] = "one";

    (void)state;
    strv_push(&strv, text);
    text[0] = 'X';
    assert_string_equal(strv.items[0], "one");
    strv_push(&copy, "zero");
    strv_copy(&copy, &strv);
    strv_done(&strv);
    assert_int_equal(strv.n_items, 0);
    assert_int_equal(copy.n_items, 2);
    assert_string_equal(copy.items[1], "one");
}

static void test_owned_item_is_kept_as_it_is(void **state)
{
    CLEANUP(strv_done) struct strv strv = {};
    char *item = alloc_strdup("item");

    (void)state;
    strv_push_owned(&strv, item);
    assert_ptr_equal(strv.items[0], item);
}

static void test_contains_whole_items_only(void **state)
{
    CLEANUP(strv_done) struct strv strv = {};

    (void)state;
    assert_false(strv_contains(&strv, ""));
    strv_push(&strv, "abc");
    strv_push(&strv, "");
    assert_true(strv_contains(&strv, "abc"));
    assert_true(strv_contains(&strv, ""));
    assert_false(strv_contains(&strv, "ab"));
    assert_false(strv_contains(&strv, "abcd"));
}

static void assert_joined(const struct strv *strv, const char *separator, const char *expected)
{
    CLEANUP_FREE char *text = strv_join(strv, separator);

    assert_string_equal(text, expected);
}

static void test_join_puts_separators_between(void **state)
{
    CLEANUP(strv_done) struct strv strv = {};

    (void)state;
    assert_joined(&strv, ", ", "");
    strv_push(&strv, "a");
    assert_joined(&strv, ", ", "a");
    strv_push(&strv, "");
    strv_push(&strv, "c");
    assert_joined(&strv, ", ", "a, , c");
    assert_joined(&strv, "", "ac");
}

static void test_key_that_is_there_gets_the_new_value_in_its_place(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};

    (void)state;
    pairs_set(&pairs, "a", "1");
    pairs_set(&pairs, "b", "2");
    pairs_set(&pairs, "a", "3");
    assert_int_equal(pairs.n_items, 2);
    assert_string_equal(pairs.items[0].key, "a");
    assert_string_equal(pairs.items[0].value, "3");
    assert_string_equal(pairs_get(&pairs, "b"), "2");
    assert_null(pairs_get(&pairs, "c"));
    assert_null(pairs_get(&pairs, ""));
}

static void test_value_can_be_set_to_itself(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};

    (void)state;
    pairs_set(&pairs, "a", "1");
    pairs_set(&pairs, "a", pairs_get(&pairs, "a"));
    assert_string_equal(pairs_get(&pairs, "a"), "1");
    pairs_copy(&pairs, &pairs);
    assert_int_equal(pairs.n_items, 1);
}

static void test_copied_pairs_win_over_those_there(void **state)
{
    CLEANUP(pairs_done) struct pairs to = {}, from = {};

    (void)state;
    pairs_set(&to, "PATH", "/job");
    pairs_set(&to, "LANG", "C");
    pairs_set(&from, "PATH", "/nomad");
    pairs_copy(&to, &from);
    assert_int_equal(to.n_items, 2);
    assert_string_equal(pairs_get(&to, "PATH"), "/nomad");
    pairs_done(&from);
    assert_int_equal(from.n_items, 0);
    assert_null(from.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_list_ends_with_null_at_each_length),
        FD_LEAK_TEST(test_items_are_copies),
        FD_LEAK_TEST(test_owned_item_is_kept_as_it_is),
        FD_LEAK_TEST(test_contains_whole_items_only),
        FD_LEAK_TEST(test_join_puts_separators_between),
        FD_LEAK_TEST(test_key_that_is_there_gets_the_new_value_in_its_place),
        FD_LEAK_TEST(test_value_can_be_set_to_itself),
        FD_LEAK_TEST(test_copied_pairs_win_over_those_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
