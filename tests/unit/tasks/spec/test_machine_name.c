#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tasks/spec/machine_name.h"
#include "tests/support/fd_leak.h"

#define ALLOC "2b1f4c1e-9a53-4d1c-8f0b-0d3c5e7a9b11"

static void assert_name(const char *task, const char *expected)
{
    CLEANUP_FREE char *name = machine_name_make(task, ALLOC);

    assert_string_equal(name, expected);
    assert_true(machine_name_is_valid(name));
}

static void test_valid_name_is_kept_as_it_is(void **state)
{
    (void)state;
    assert_name("web", "web-" ALLOC);
    assert_name("Web.a--b", "Web.a--b-" ALLOC);
    assert_name("abcdefghijklmnopqrstuvwxyz0", "abcdefghijklmnopqrstuvwxyz0-" ALLOC); /* 64 */
}

/* Saved states and machinectl users rely on them: they never change. The ends are FNV-1a (64 bits) of
 * "<task>-<alloc id>", reckoned elsewhere. */
static void test_changed_name_is_the_same_for_ever(void **state)
{
    (void)state;
    assert_name("a_b", "a-b-2b1f4c1e-9a53-4d1c-8f0b-0d3c5e7a9b11-8669a61eb2c0aee3");
    assert_name("", "2b1f4c1e-9a53-4d1c-8f0b-0d3c5e7a9b11-0851624e0980faef");
}

static void test_odd_names_become_valid_and_differ(void **state)
{
    static const char *const tasks[] = {
        "a_b", "a-b", "a b", "a.b", "a..b", ".a.b", "-a-b", "a-.b", "a.-b", "a/b", "web[0]",
        "", "_", "-", ".", "\xc3\xbc", "\xff", "a\nb",
        "abcdefghijklmnopqrstuvwxyz01",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b",
    };
    CLEANUP(strv_done) struct strv names = {};

    (void)state;
    for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
        CLEANUP_FREE char *name = machine_name_make(tasks[i], ALLOC);
        CLEANUP_FREE char *again = machine_name_make(tasks[i], ALLOC);
        assert_true(machine_name_is_valid(name));
        assert_string_equal(name, again);
        assert_false(strv_contains(&names, name));
        strv_push(&names, name);
    }
}

static void test_two_allocations_of_one_task_differ(void **state)
{
    CLEANUP_FREE char *one = machine_name_make("a_b", ALLOC);
    CLEANUP_FREE char *other = machine_name_make("a_b", "2b1f4c1e-9a53-4d1c-8f0b-0d3c5e7a9b12");

    (void)state;
    assert_string_not_equal(one, other);
}

/* As machined 252 answered. */
static void test_validity_is_machined_s(void **state)
{
    static const char *const valid[] = { "A.b", "1", "a--b", "a.b.c", "1.2.3.4", "UPPER" };
    static const char *const invalid[] = { "",     "-x",   "x-",     "a b", "a..b", ".a",
                                           "a.",   "a-.b", "web[0]", "a_b", "\xc3\xbc" };

    (void)state;
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
        assert_true(machine_name_is_valid(valid[i]));
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
        assert_false(machine_name_is_valid(invalid[i]));

    char name[MACHINE_NAME_BYTES_MAX + 2] = {};
    memset(name, 'a', MACHINE_NAME_BYTES_MAX);
    assert_true(machine_name_is_valid(name));
    name[MACHINE_NAME_BYTES_MAX] = 'a';
    assert_false(machine_name_is_valid(name));
}

static void test_names_of_units_follow_from_the_machine(void **state)
{
    CLEANUP_FREE char *unit = machine_name_unit("web-1");
    CLEANUP_FREE char *logs = machine_name_logs_unit("web-1");
    CLEANUP_FREE char *slice = machine_name_slice("web-1");
    CLEANUP_FREE char *id = machine_name_slice_id("web-1");
    CLEANUP_FREE char *expected = alloc_printf("nspawn-%s.slice", id);

    (void)state;
    assert_string_equal(unit, "nspawn-web-1.service");
    assert_string_equal(logs, "nspawn-web-1-logs.service");
    assert_int_equal(strspn(id, "0123456789abcdef"), 16);
    assert_int_equal(strlen(id), 16);
    assert_string_equal(slice, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_valid_name_is_kept_as_it_is),
        FD_LEAK_TEST(test_changed_name_is_the_same_for_ever),
        FD_LEAK_TEST(test_odd_names_become_valid_and_differ),
        FD_LEAK_TEST(test_two_allocations_of_one_task_differ),
        FD_LEAK_TEST(test_validity_is_machined_s),
        FD_LEAK_TEST(test_names_of_units_follow_from_the_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
