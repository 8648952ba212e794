#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/lifecycle/start_argv.h"
#include "tasks/spec/task_options_check.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/pack.h"

static void make_argv(const char *json, uid_t uid_base, struct strv *argv)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    char machine[] = "web-1", image[] = "/images/debian", alloc_dir[] = "/alloc", name[] = "web";
    struct task task = {
        .names = { .machine = machine },
        .image = image,
        .uid_base = uid_base,
        .spec = { .alloc_dir = alloc_dir, .name = name },
    };
    struct task_options options = {};
    struct task_dirs dirs = {};
    const struct network_plan plan = {};
    const struct start_argv start = {
        .task = &task, .options = &options, .dirs = &dirs, .plan = &plan
    };

    assert_int_equal(task_options_decode(&options, packed.bytes, packed.n_bytes, NULL), 0);
    assert_int_equal(task_options_check(&options, NULL, NULL), 0);
    assert_int_equal(binds_add(&dirs.binds, BIND_OWNER_TASK_DIR, "/alloc/alloc", "/alloc",
                               (struct bind_how){}, NULL),
                     1);
    start_argv_make(&start, argv);
    binds_done(&dirs.binds);
    task_options_done(&options);
}

static bool has_prefix(const struct strv *argv, const char *prefix)
{
    for (size_t i = 0; i < argv->n_items; i++)
        if (strncmp(argv->items[i], prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

static void test_command_line_is_of_this_task(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};

    (void)state;
    make_argv("{'image': 'debian'}", 0, &argv);
    assert_true(strv_contains(&argv, "--machine=web-1"));
    assert_true(strv_contains(&argv, "--directory=/images/debian"));
    assert_true(strv_contains(&argv, "--bind=/alloc/alloc:/alloc"));
    assert_true(strv_contains(&argv, "--private-users=pick"));
}

static void test_range_of_users_is_the_task_s(void **state)
{
    CLEANUP(strv_done) struct strv argv = {}, without = {};

    (void)state;
    make_argv("{'image': 'debian'}", 589824, &argv);
    assert_true(strv_contains(&argv, "--private-users=589824:65536"));
    make_argv("{'image': 'debian', 'user_namespacing': false}", 589824, &without);
    assert_false(has_prefix(&without, "--private-users"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_command_line_is_of_this_task),
        FD_LEAK_TEST(test_range_of_users_is_the_task_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
