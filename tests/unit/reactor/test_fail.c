#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/fail.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

static void test_first_message_wins(void **state)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    assert_int_equal(fail_set(&fail, -ENOENT, "no '%s'", "image"), -ENOENT);
    assert_int_equal(fail_set_recoverable(&fail, -EBUSY, "later"), -EBUSY);
    assert_int_equal(fail.error, -ENOENT);
    assert_false(fail.recoverable);
    assert_string_equal(fail_text(&fail), "no 'image'");
}

static void test_errno_is_answered_without_a_place_for_the_message(void **state)
{
    (void)state;
    assert_int_equal(fail_set(NULL, -EPERM, "unheard"), -EPERM);
    assert_int_equal(fail_set_recoverable(NULL, -EPERM, "unheard"), -EPERM);
    fail_prefix(NULL, "unheard");
}

static void test_recoverable_is_kept(void **state)
{
    CLEANUP_FAIL struct fail fail = {}, moved = {}, copy = {};

    (void)state;
    assert_int_equal(fail_set_recoverable(&fail, -EBUSY, "busy"), -EBUSY);
    fail_copy(&copy, &fail);
    fail_move(&moved, &fail);
    assert_true(copy.recoverable);
    assert_true(moved.recoverable);
}

static void test_prefix_goes_before_what_is_there(void **state)
{
    CLEANUP_FAIL struct fail fail = {}, nothing = {};

    (void)state;
    fail_prefix(&nothing, "option '%s'", "image");
    assert_int_equal(nothing.error, 0);
    assert_null(nothing.message);

    (void)fail_set(&fail, -EINVAL, "wrong");
    fail_prefix(&fail, "inner");
    fail_prefix(&fail, "outer %d", 1);
    assert_string_equal(fail_text(&fail), "outer 1: inner: wrong");
}

static void test_failure_without_a_message_has_its_errno_s_text(void **state)
{
    CLEANUP_FAIL struct fail fail = { .error = -ENOENT };

    (void)state;
    assert_string_equal(fail_text(&fail), strerror(ENOENT));
    fail_prefix(&fail, "there");
    expect_fail(-ENOENT, &fail, -ENOENT, "there: No such file or directory");
}

static void test_moved_failure_is_empty(void **state)
{
    CLEANUP_FAIL struct fail from = {}, to = {};

    (void)state;
    (void)fail_set(&from, -EINVAL, "wrong");
    fail_move(&to, &from);
    assert_int_equal(from.error, 0);
    assert_null(from.message);
    expect_fail(to.error, &to, -EINVAL, "wrong");
}

static void test_copy_does_not_touch_a_failure_that_is_there(void **state)
{
    CLEANUP_FAIL struct fail from = {}, to = {};

    (void)state;
    (void)fail_set(&from, -EINVAL, "second");
    fail_copy(&to, &from);
    assert_ptr_not_equal(to.message, from.message);
    assert_string_equal(to.message, "second");
    fail_done(&to);
    (void)fail_set(&to, -ENOENT, "first");
    fail_copy(&to, &from);
    expect_fail(to.error, &to, -ENOENT, "first");
}

static void test_done_makes_room_for_another(void **state)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    (void)fail_set_recoverable(&fail, -EINVAL, "one");
    fail_done(&fail);
    assert_false(fail.recoverable);
    (void)fail_set(&fail, -ENOENT, "two");
    expect_fail(fail.error, &fail, -ENOENT, "two");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_first_message_wins),
        FD_LEAK_TEST(test_errno_is_answered_without_a_place_for_the_message),
        FD_LEAK_TEST(test_recoverable_is_kept),
        FD_LEAK_TEST(test_prefix_goes_before_what_is_there),
        FD_LEAK_TEST(test_failure_without_a_message_has_its_errno_s_text),
        FD_LEAK_TEST(test_moved_failure_is_empty),
        FD_LEAK_TEST(test_copy_does_not_touch_a_failure_that_is_there),
        FD_LEAK_TEST(test_done_makes_room_for_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
