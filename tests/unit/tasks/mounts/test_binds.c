/* The one list of binds: its order, and that two never have one target. */
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
#include "reactor/strv.h"
#include "tasks/mounts/binds.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

static int add(struct binds *binds, enum bind_owner owner, const char *source, const char *target,
               struct fail *fail)
{
    return binds_add(binds, owner, source, target, (struct bind_how){}, fail);
}

/* The targets, in the order of the list. */
static void expect_targets(const struct binds *binds, const char *expected)
{
    CLEANUP(strv_done) struct strv targets = {};

    for (size_t i = 0; i < binds->n_items; i++)
        strv_push(&targets, binds->items[i].target);
    CLEANUP_FREE char *joined = strv_join(&targets, " ");
    assert_string_equal(joined, expected);
}

/* Every order of adding leads to one list. */
static void add_from(const char *const *targets, size_t n, size_t first, const char *expected)
{
    CLEANUP(binds_done) struct binds binds = {};

    for (size_t i = 0; i < n; i++)
        assert_int_equal(add(&binds, BIND_OWNER_JOB, "/s", targets[(first + i) % n], NULL), 1);
    expect_targets(&binds, expected);
}

static void test_what_lies_below_another_comes_after_it(void **state)
{
    static const char *const targets[] = { "/alloc/logs", "/b",         "/alloc",  "/alloc-2",
                                           "/",           "/alloc/a/b", "//b/./c", "/ab" };
    const size_t n = sizeof(targets) / sizeof(targets[0]);

    (void)state;
    for (size_t first = 0; first < n; first++)
        add_from(targets, n, first, "/ /ab /alloc /alloc/a/b /alloc/logs /alloc-2 /b //b/./c");
}

static void test_what_is_bound_is_copied(void **state)
{
    CLEANUP(binds_done) struct binds binds = {};
    char source[] = "/source", target[] = "/target";
    const struct bind_how how = { .read_only = true, .map = BIND_MAP_IDMAP };

    (void)state;
    assert_int_equal(binds_add(&binds, BIND_OWNER_VOLUME, source, target, how, NULL), 1);
    source[1] = target[1] = 'x';
    assert_string_equal(binds.items[0].source, "/source");
    assert_string_equal(binds.items[0].target, "/target");
    assert_int_equal(binds.items[0].owner, BIND_OWNER_VOLUME);
    assert_true(binds.items[0].how.read_only);
    assert_false(binds.items[0].how.without_submounts);
    assert_int_equal(binds.items[0].how.map, BIND_MAP_IDMAP);
    binds_done(&binds);
    assert_int_equal(binds.n_items, 0);
    assert_null(binds.items);
}

/* Each two owners, in either order: refused, and the message is the same. */
static void expect_clash(enum bind_owner lower, enum bind_owner higher, const char *begin)
{
    CLEANUP(binds_done) struct binds binds = {}, reverse = {};
    CLEANUP_FAIL struct fail fail = {}, other = {};

    assert_int_equal(add(&binds, lower, "/low", "/x", NULL), 1);
    assert_int_equal(add(&binds, higher, "/high", "/x", &fail), -EINVAL);
    if (strncmp(fail_text(&fail), begin, strlen(begin)) != 0)
        fail_msg("'%s' does not begin with '%s'", fail_text(&fail), begin);
    assert_non_null(strstr(fail_text(&fail), ": '/x' is the path inside of two binds, of '/high' "
                                             "and of '/low' ("));
    assert_int_equal(binds.n_items, 1);
    assert_string_equal(binds.items[0].source, "/low");
    if (lower == higher)
        return;
    assert_int_equal(add(&reverse, higher, "/high", "/x", NULL), 1);
    assert_int_equal(add(&reverse, lower, "/low", "/x", &other), -EINVAL);
    assert_string_equal(fail_text(&fail), fail_text(&other));
}

static void test_any_two_at_one_target_are_refused(void **state)
{
    static const char *const names[BIND_OWNER_MAX] = {
        [BIND_OWNER_INIT] = "the driver's init: ",
        [BIND_OWNER_TASK_DIR] = "the task's directories: ",
        [BIND_OWNER_VOLUME] = "volume_mount: ",
        [BIND_OWNER_JOB] = "option 'bind': ",
        [BIND_OWNER_JOB_READ_ONLY] = "option 'bind_read_only': ",
    };

    (void)state;
    for (enum bind_owner i = BIND_OWNER_INIT; i < BIND_OWNER_MAX; i++)
        for (enum bind_owner j = i; j < BIND_OWNER_MAX; j++)
            expect_clash(i, j, names[j]);
}

static void test_the_whole_sentence(void **state)
{
    CLEANUP(binds_done) struct binds binds = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    assert_int_equal(add(&binds, BIND_OWNER_TASK_DIR, "/alloc/web/local", "/local", NULL), 1);
    expect_fail(add(&binds, BIND_OWNER_VOLUME, "/srv", "/local", &fail), &fail, -EINVAL,
                "volume_mount: '/local' is the path inside of two binds, of '/srv' and of "
                "'/alloc/web/local' (the task's directories); choose another destination for the "
                "volume_mount");
}

static void test_one_target_written_in_several_ways(void **state)
{
    static const char *const same[] = {
        "/a/b", "//a/b", "/a//b/", "/a/./b", "/./a/b/.", "/a/b/./"
    };
    static const char *const others[] = { "/a", "/a/b/c", "/a/.b", "/a/b.", "/a/..b", "/ab" };
    CLEANUP(binds_done) struct binds binds = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(add(&binds, BIND_OWNER_JOB, "/s", others[i], NULL), 1);
    assert_int_equal(add(&binds, BIND_OWNER_JOB, "/s", "/a/b", NULL), 1);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        expect_fail_with(add(&binds, BIND_OWNER_JOB, "/t", same[i], &fail), &fail, -EINVAL,
                         "'/a/b' is the path inside of two binds");
}

static void test_our_files_of_names_give_way(void **state)
{
    (void)state;
    for (enum bind_owner owner = BIND_OWNER_NAMES + 1; owner < BIND_OWNER_MAX; owner++) {
        CLEANUP(binds_done) struct binds first = {}, last = {};

        assert_int_equal(add(&first, owner, "/theirs", "/etc/hosts", NULL), 1);
        assert_int_equal(add(&first, BIND_OWNER_NAMES, "/ours", "/etc/hosts", NULL), 0);
        assert_int_equal(add(&last, BIND_OWNER_NAMES, "/ours", "/etc/hosts", NULL), 1);
        assert_int_equal(add(&last, owner, "/theirs", "/etc//hosts", NULL), 1);
        assert_int_equal(first.n_items, 1);
        assert_int_equal(last.n_items, 1);
        assert_string_equal(first.items[0].source, "/theirs");
        assert_string_equal(last.items[0].source, "/theirs");
        assert_int_equal(last.items[0].owner, owner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_lies_below_another_comes_after_it),
        FD_LEAK_TEST(test_what_is_bound_is_copied),
        FD_LEAK_TEST(test_any_two_at_one_target_are_refused),
        FD_LEAK_TEST(test_the_whole_sentence),
        FD_LEAK_TEST(test_one_target_written_in_several_ways),
        FD_LEAK_TEST(test_our_files_of_names_give_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
