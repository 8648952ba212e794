#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "tasks/spec/task_spec.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

static const struct plugin_config defaults = { .enabled = true, .volumes = true };

#define LATER "not supported by this version of the driver; "

/* Borrowed strings: never to be given to task_spec_done. */
#define TEXT(s) ((char *)(uintptr_t)(s))

static struct task_mount mount_of(const char *host, const char *task, const char *mode)
{
    return (struct task_mount){
        .host_path = TEXT(host), .task_path = TEXT(task), .propagation_mode = TEXT(mode)
    };
}

static void test_plain_task_passes(void **state)
{
    const struct task_spec spec = {};

    (void)state;
    assert_int_equal(task_spec_check(&spec, &defaults, NULL), 0);
}

static void test_private_mounts_pass(void **state)
{
    struct task_mount mounts[] = {
        mount_of("/srv", "/srv", NULL),
        mount_of("/srv", "/data", ""),
        mount_of("/srv", "/more", "private"),
    };
    const struct task_spec spec = { .mounts = mounts, .n_mounts = 3 };

    (void)state;
    assert_int_equal(task_spec_check(&spec, &defaults, NULL), 0);
}

static void test_mounts_are_refused_where_the_agent_forbids_them(void **state)
{
    struct task_mount mounts[] = { mount_of("/srv", "/srv", NULL) };
    const struct task_spec spec = { .mounts = mounts, .n_mounts = 1 }, without = {};
    const struct plugin_config forbidden = { .enabled = true };
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail(task_spec_check(&spec, &forbidden, &fail), &fail, -EPERM,
                "the task mounts volumes, and the agent's plugin configuration forbids them "
                "(volumes = false)");
    assert_int_equal(task_spec_check(&without, &forbidden, NULL), 0);
}

static void test_mount_paths_are_absolute(void **state)
{
    static const struct {
        const char *host, *task, *message;
    } wrong[] = {
        { "srv", "/srv", "volume mount of 'srv' at '/srv': both must be absolute paths" },
        { "/srv", "srv", "volume mount of '/srv' at 'srv': both must be absolute paths" },
        { "/srv", "", "volume mount of '/srv' at '': both must be absolute paths" },
        { NULL, "/srv", "volume mount of '' at '/srv': both must be absolute paths" },
        { "/srv", NULL, "volume mount of '/srv' at '': both must be absolute paths" },
        { NULL, NULL, "volume mount of '' at '': both must be absolute paths" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CLEANUP_FAIL struct fail fail = {};
        struct task_mount mounts[] = { mount_of("/ok", "/ok", NULL),
                                       mount_of(wrong[i].host, wrong[i].task, NULL) };
        const struct task_spec spec = { .mounts = mounts, .n_mounts = 2 };
        expect_fail(task_spec_check(&spec, &defaults, &fail), &fail, -EINVAL, wrong[i].message);
    }
}

static void test_propagation_is_refused_by_name(void **state)
{
    struct task_mount mounts[] = { mount_of("/srv", "/data", "host-to-task") };
    const struct task_spec spec = { .mounts = mounts, .n_mounts = 1 };
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail(task_spec_check(&spec, &defaults, &fail), &fail, -EOPNOTSUPP,
                "volume mount at '/data': propagation_mode \"host-to-task\" is " LATER
                "use \"private\"");
    mounts[0] = mount_of("/srv", "/data", "bidirectional");
    expect_fail_with(task_spec_check(&spec, &defaults, &fail), &fail, -EOPNOTSUPP, "bidirectional");
}

static void test_devices_are_refused(void **state)
{
    const struct task_spec spec = { .n_devices = 1 };
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail(task_spec_check(&spec, &defaults, &fail), &fail, -EOPNOTSUPP,
                "devices are " LATER "remove the task's `device` blocks");
}

static struct task_spec full_spec(void)
{
    struct task_spec spec = { .id = alloc_strdup("a/web/1"), .n_mounts = 1, .n_ports = 1 };

    spec.mounts = alloc_zero(1, sizeof(*spec.mounts));
    spec.mounts[0].host_path = alloc_strdup("/srv");
    spec.ports = alloc_zero(1, sizeof(*spec.ports));
    spec.ports[0].label = alloc_strdup("http");
    pairs_set(&spec.env, "KEY", "value");
    strv_push(&spec.dns.servers, "192.0.2.1");
    return spec;
}

/* What the target owned is freed, which the sanitizer watches. */
static void test_moving_leaves_nothing_behind(void **state)
{
    struct task_spec from = full_spec(), to = full_spec();

    (void)state;
    free(from.id);
    from.id = alloc_strdup("b/web/2");
    task_spec_move(&to, &from);
    assert_string_equal(to.id, "b/web/2");
    assert_string_equal(to.mounts[0].host_path, "/srv");
    assert_string_equal(to.ports[0].label, "http");
    assert_string_equal(pairs_get(&to.env, "KEY"), "value");
    assert_null(from.id);
    assert_null(from.mounts);
    assert_int_equal(from.n_ports, 0);
    task_spec_done(&to);
    assert_null(to.ports);
    task_spec_done(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_plain_task_passes),
        FD_LEAK_TEST(test_private_mounts_pass),
        FD_LEAK_TEST(test_mounts_are_refused_where_the_agent_forbids_them),
        FD_LEAK_TEST(test_mount_paths_are_absolute),
        FD_LEAK_TEST(test_propagation_is_refused_by_name),
        FD_LEAK_TEST(test_devices_are_refused),
        FD_LEAK_TEST(test_moving_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
