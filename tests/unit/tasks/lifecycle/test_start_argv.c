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

#define MIB (UINT64_C(1) << 20)

static void expect_limits(int64_t memory_mb, int64_t memory_max_mb, uint64_t max, uint64_t high,
                          uint64_t low)
{
    const struct task_resources resources = { .memory_mb = memory_mb,
                                              .memory_max_mb = memory_max_mb };
    struct unit_service service = {};

    start_argv_limits(&resources, &service);
    if (service.memory_max_bytes != max || service.memory_high_bytes != high ||
        service.memory_low_bytes != low)
        fail_msg("memory %ld, at most %ld: %lu, %lu, %lu", (long)memory_mb, (long)memory_max_mb,
                 (unsigned long)service.memory_max_bytes, (unsigned long)service.memory_high_bytes,
                 (unsigned long)service.memory_low_bytes);
    assert_true(service.cpu_weight == 0);
}

static void test_memory_is_limited_as_nomad_says(void **state)
{
    (void)state;
    expect_limits(300, 0, 300 * MIB, 0, 0);
    expect_limits(300, 500, 500 * MIB, 300 * MIB, 0);
    expect_limits(300, -1, 0, 0, 300 * MIB);
    expect_limits(1, 0, MIB, 0, 0);
}

static void test_maximum_that_is_none_leaves_the_memory_as_limit(void **state)
{
    (void)state;
    expect_limits(300, 300, 300 * MIB, 0, 0);
    expect_limits(300, 299, 300 * MIB, 0, 0);
    expect_limits(300, INT64_MAX, 300 * MIB, 0, 0);
}

static void test_memory_that_is_not_known_is_not_limited(void **state)
{
    (void)state;
    expect_limits(0, 0, 0, 0, 0);
    expect_limits(0, 500, 0, 0, 0);
    expect_limits(-1, 0, 0, 0, 0);
    expect_limits(INT64_MIN, INT64_MIN, 0, 0, 0);
    expect_limits(INT64_MAX, 0, 0, 0, 0); /* more bytes than can be written */
    expect_limits((int64_t)1 << 44, 0, 0, 0, 0);
    expect_limits(((int64_t)1 << 44) - 1, 0, (((uint64_t)1 << 44) - 1) * MIB, 0, 0);
}

static uint64_t weight_of(int64_t shares)
{
    const struct task_resources resources = { .cpu_shares = shares };
    struct unit_service service = {};

    start_argv_limits(&resources, &service);
    return service.cpu_weight;
}

static void test_shares_become_a_weight_that_systemd_takes(void **state)
{
    (void)state;
    assert_true(weight_of(0) == 0);
    assert_true(weight_of(-5) == 0);
    assert_true(weight_of(1) == 1);
    assert_true(weight_of(2) == 1);
    assert_true(weight_of(1024) == 39);
    assert_true(weight_of(262144) == 10000);
    assert_true(weight_of(INT64_MAX) == 10000);
    for (int64_t shares = 3; shares < 300000; shares += 7) {
        assert_in_range(weight_of(shares), 1, 10000);
        assert_true(weight_of(shares) >= weight_of(shares - 1));
    }
}

static void test_cpus_are_handed_on(void **state)
{
    char cpus[] = "0,2-3";
    const struct task_resources resources = { .cpuset_cpus = cpus };
    struct unit_service service = {};

    (void)state;
    start_argv_limits(&resources, &service);
    assert_string_equal(service.allowed_cpus, "0,2-3");
}

/* --- the command line ------------------------------------------------------------------------ */

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
    nspawn_binds_add(&dirs.binds, "/alloc/alloc", "/alloc", (struct nspawn_bind_how){});
    start_argv_make(&start, argv);
    nspawn_binds_done(&dirs.binds);
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
        FD_LEAK_TEST(test_memory_is_limited_as_nomad_says),
        FD_LEAK_TEST(test_maximum_that_is_none_leaves_the_memory_as_limit),
        FD_LEAK_TEST(test_memory_that_is_not_known_is_not_limited),
        FD_LEAK_TEST(test_shares_become_a_weight_that_systemd_takes),
        FD_LEAK_TEST(test_cpus_are_handed_on),
        FD_LEAK_TEST(test_command_line_is_of_this_task),
        FD_LEAK_TEST(test_range_of_users_is_the_task_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
