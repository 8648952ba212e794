/* What this machine can do is not known here; that the answers agree, and leave nothing, is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tasks/fingerprint/probe.h"
#include "tasks/kernel/idmap.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"

static unsigned n_mounts(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    unsigned n = 0;
    int c;

    assert_non_null(file);
    while ((c = fgetc(file)) != EOF)
        n += c == '\n';
    (void)fclose(file);
    return n;
}

static void expect_no_children(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(errno, ECHILD);
}

/* By the program that people would try it with. */
static bool unshare_works(void)
{
    return system("unshare --user true 2> /dev/null") == 0;
}

static void test_probing_leaves_nothing(void **state)
{
    unsigned before = n_mounts();
    struct probe_host host;

    (void)state;
    for (int i = 0; i < 5; i++)
        probe_host(&host);
    expect_no_children();
    assert_int_equal(n_mounts(), before);
}

static void test_host_is_what_its_parts_are(void **state)
{
    struct probe_host host;

    (void)state;
    memset(&host, 0xff, sizeof(host));
    probe_host(&host);
    assert_int_equal(host.root, geteuid() == 0);
    assert_int_equal(host.nspawn, access("/usr/bin/systemd-nspawn", X_OK) == 0);
    assert_int_equal(host.booted, access("/run/systemd/system/", F_OK) == 0);
    assert_int_equal(host.user_namespaces, unshare_works());
    assert_int_equal(host.cgroup, cgroup_version());
    assert_true(host.user_namespaces || !host.idmapped_mounts);
}

static void test_old_kernel_maps_nothing(void **state)
{
    struct probe_host host;

    (void)state;
    assert_int_equal(setenv(IDMAP_OFF_ENV, "all", 1), 0);
    probe_host(&host);
    assert_int_equal(unsetenv(IDMAP_OFF_ENV), 0);
    assert_false(host.idmapped_mounts);
    assert_int_equal(host.user_namespaces, unshare_works());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_probing_leaves_nothing),
        FD_LEAK_TEST(test_host_is_what_its_parts_are),
        FD_LEAK_TEST(test_old_kernel_maps_nothing),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
