#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_spec.h"

#define CLEANUP_SPEC CLEANUP(task_spec_done)

/* What is needed and no more. */
static Nomad__TaskConfig least(void)
{
    Nomad__TaskConfig config = NOMAD__TASK_CONFIG__INIT;

    config.id = "alloc/web/12345678";
    config.name = "web";
    config.alloc_id = "alloc";
    config.alloc_dir = "/alloc_dir";
    return config;
}

/* Refused with `error`, and a message in which `words` are. */
static void assert_refused(const Nomad__TaskConfig *config, int error, const char *words)
{
    struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    assert_int_equal(convert_spec(config, &spec, &fail), error);
    assert_int_equal(fail.error, error);
    if (strstr(fail_text(&fail), words) == NULL)
        fail_msg("'%s' does not say '%s'", fail_text(&fail), words);
    assert_memory_equal(&spec, &(struct task_spec){}, sizeof(spec));
}

static void assert_taken(const Nomad__TaskConfig *config, struct task_spec *spec)
{
    CLEANUP_FAIL struct fail fail = {};

    if (convert_spec(config, spec, &fail) < 0)
        fail_msg("refused: %s", fail_text(&fail));
}

static void test_the_least_is_taken(void **state)
{
    (void)state;
    const Nomad__TaskConfig config = least();
    CLEANUP_SPEC struct task_spec spec = {};

    assert_taken(&config, &spec);
    assert_string_equal(spec.id, "alloc/web/12345678");
    assert_string_equal(spec.name, "web");
    assert_string_equal(spec.alloc_dir, "/alloc_dir");
    assert_null(spec.user);
    assert_null(spec.stdout_path);
    assert_null(spec.config);
    assert_int_equal(spec.network, TASK_NETWORK_HOST);
    assert_false(spec.has_dns);
}

static void test_everything_is_taken_over(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    CLEANUP_SPEC struct task_spec spec = {};
    uint8_t msgpack[] = { 0x80 };
    Nomad__TaskConfig__EnvEntry a = NOMAD__TASK_CONFIG__ENV_ENTRY__INIT, b = a, c = a;
    Nomad__TaskConfig__EnvEntry *env[] = { &a, &b, &c };
    Nomad__Mount mount = NOMAD__MOUNT__INIT, *mounts[] = { &mount };
    Nomad__Device device = NOMAD__DEVICE__INIT, *devices[] = { &device };
    Nomad__Resources resources = NOMAD__RESOURCES__INIT;
    Nomad__AllocatedTaskResources allocated = NOMAD__ALLOCATED_TASK_RESOURCES__INIT;
    Nomad__AllocatedCpuResources cpu = NOMAD__ALLOCATED_CPU_RESOURCES__INIT;
    Nomad__AllocatedMemoryResources memory = NOMAD__ALLOCATED_MEMORY_RESOURCES__INIT;
    Nomad__LinuxResources linux_ = NOMAD__LINUX_RESOURCES__INIT;
    Nomad__NetworkIsolationSpec network = NOMAD__NETWORK_ISOLATION_SPEC__INIT;
    Nomad__DNSConfig dns = NOMAD__DNSCONFIG__INIT;
    const char *servers[] = { "192.0.2.53" };

    a.key = "A", a.value = "1";
    b.key = "EMPTY";
    c.key = "A", c.value = "2";
    config.n_env = 3, config.env = env;
    mount.task_path = "/data", mount.host_path = "/srv/data", mount.readonly = true;
    mount.propagation_mode = "host-to-task";
    config.n_mounts = 1, config.mounts = mounts;
    config.n_devices = 1, config.devices = devices;
    cpu.cpu_shares = 500;
    memory.memory_mb = 256, memory.memory_max_mb = -1;
    allocated.cpu = &cpu, allocated.memory = &memory;
    linux_.cpuset_cpus = "0,2";
    resources.allocated_resources = &allocated, resources.linux_resources = &linux_;
    config.resources = &resources;
    network.mode = NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP;
    network.path = "/var/run/netns/alloc";
    config.network_isolation_spec = &network;
    dns.n_servers = 1, dns.servers = servers;
    config.dns = &dns;
    config.user = "nobody", config.stdout_path = "/o", config.stderr_path = "/e";
    config.job_name = "job", config.task_group_name = "group", config.namespace_ = "default";
    config.msgpack_driver_config.data = msgpack, config.msgpack_driver_config.len = 1;

    assert_taken(&config, &spec);
    assert_int_equal(spec.env.n_items, 2);
    assert_string_equal(pairs_get(&spec.env, "A"), "2");
    assert_string_equal(pairs_get(&spec.env, "EMPTY"), "");
    assert_int_equal(spec.n_mounts, 1);
    assert_string_equal(spec.mounts[0].task_path, "/data");
    assert_string_equal(spec.mounts[0].host_path, "/srv/data");
    assert_string_equal(spec.mounts[0].propagation_mode, "host-to-task");
    assert_true(spec.mounts[0].read_only);
    assert_int_equal(spec.n_devices, 1);
    assert_int_equal(spec.resources.cpu_shares, 500);
    assert_int_equal(spec.resources.memory_mb, 256);
    assert_int_equal(spec.resources.memory_max_mb, -1);
    assert_string_equal(spec.resources.cpuset_cpus, "0,2");
    assert_int_equal(spec.network, TASK_NETWORK_GROUP);
    assert_string_equal(spec.network_path, "/var/run/netns/alloc");
    assert_true(spec.has_dns);
    assert_string_equal(spec.user, "nobody");
    assert_string_equal(spec.stdout_path, "/o");
    assert_string_equal(spec.stderr_path, "/e");
    assert_string_equal(spec.job_name, "job");
    assert_string_equal(spec.task_group_name, "group");
    assert_string_equal(spec.namespace, "default");
    assert_int_equal(spec.config_bytes, 1);
    assert_int_equal(spec.config[0], 0x80);
}

static void test_namespace_of_an_old_host_is_in_the_environment(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    CLEANUP_SPEC struct task_spec spec = {};
    Nomad__TaskConfig__EnvEntry entry = NOMAD__TASK_CONFIG__ENV_ENTRY__INIT, *env[] = { &entry };

    entry.key = "NOMAD_NAMESPACE", entry.value = "prod";
    config.n_env = 1, config.env = env;
    assert_taken(&config, &spec);
    assert_string_equal(spec.namespace, "prod");
}

static void test_missing_parts_are_named(void **state)
{
    (void)state;
    assert_refused(NULL, -EINVAL, "no task");

    Nomad__TaskConfig config = least();
    config.id = "";
    assert_refused(&config, -EINVAL, "id");
    config.id = NULL;
    assert_refused(&config, -EINVAL, "id");

    config = least();
    config.name = "";
    assert_refused(&config, -EINVAL, "name");

    config = least();
    config.alloc_id = "";
    assert_refused(&config, -EINVAL, "alloc_id");

    config = least();
    config.alloc_dir = "";
    assert_refused(&config, -EINVAL, "alloc_dir");
}

static void test_names_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = { "a/b", "..", ".", "/" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        Nomad__TaskConfig config = least();
        config.name = names[i];
        assert_refused(&config, -EINVAL, names[i]);
    }
}

static void test_relative_paths_are_refused_by_name(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();

    config.alloc_dir = "alloc_dir";
    assert_refused(&config, -EINVAL, "alloc_dir");
    config = least();
    config.stdout_path = "out";
    assert_refused(&config, -EINVAL, "stdout_path 'out'");
    config = least();
    config.stderr_path = "err";
    assert_refused(&config, -EINVAL, "stderr_path 'err'");
}

static char *letters(size_t n)
{
    char *text = alloc_zero(n + 1, 1);

    memset(text, 'x', n);
    return text;
}

static void test_long_ids_names_and_paths_are_refused(void **state)
{
    (void)state;
    CLEANUP_FREE char *id = letters(CONVERT_SPEC_ID_BYTES_MAX + 1);
    CLEANUP_FREE char *path = letters(CONVERT_PATH_BYTES_MAX + 1);
    Nomad__TaskConfig config = least();

    config.id = id;
    assert_refused(&config, -E2BIG, "1025 bytes");
    config = least();
    config.name = id;
    assert_refused(&config, -E2BIG, "name");
    config = least();
    path[0] = '/';
    config.alloc_dir = path;
    assert_refused(&config, -E2BIG, "alloc_dir");

    CLEANUP_SPEC struct task_spec spec = {};
    path[CONVERT_PATH_BYTES_MAX] = '\0';
    id[CONVERT_SPEC_ID_BYTES_MAX] = '\0';
    config.id = id;
    assert_taken(&config, &spec);
}

static void test_environment_has_a_limit(void **state)
{
    (void)state;
    enum { N = CONVERT_SPEC_ENV_MAX + 1 };
    CLEANUP_FREE Nomad__TaskConfig__EnvEntry *entries = alloc_zero(N, sizeof(*entries));
    CLEANUP_FREE Nomad__TaskConfig__EnvEntry **env =
        (Nomad__TaskConfig__EnvEntry **)alloc_zero(N, sizeof(*env));
    CLEANUP_FREE char *keys = alloc_zero(N, 8);
    Nomad__TaskConfig config = least();
    CLEANUP_SPEC struct task_spec spec = {};

    for (size_t i = 0; i < N; i++) {
        entries[i] = (Nomad__TaskConfig__EnvEntry)NOMAD__TASK_CONFIG__ENV_ENTRY__INIT;
        snprintf(keys + 8 * i, 8, "K%zu", i);
        entries[i].key = keys + 8 * i;
        env[i] = &entries[i];
    }
    config.env = env;
    config.n_env = N;
    assert_refused(&config, -E2BIG, "4097 environment variables");
    config.n_env = N - 1;
    assert_taken(&config, &spec);
    assert_int_equal(spec.env.n_items, N - 1);
}

static void test_variable_without_a_name_is_refused(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    Nomad__TaskConfig__EnvEntry entry = NOMAD__TASK_CONFIG__ENV_ENTRY__INIT, *env[] = { &entry };

    entry.value = "lost";
    config.n_env = 1, config.env = env;
    assert_refused(&config, -EINVAL, "'lost'");
    entry.key = NULL, entry.value = NULL;
    assert_refused(&config, -EINVAL, "no name");
    CLEANUP_SPEC struct task_spec spec = {};
    entry.key = "K";
    assert_taken(&config, &spec);
    assert_string_equal(pairs_get(&spec.env, "K"), "");
}

static void test_bad_mounts_are_refused(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    Nomad__Mount good = NOMAD__MOUNT__INIT, bad = NOMAD__MOUNT__INIT;
    Nomad__Mount *mounts[] = { &good, &bad };

    good.task_path = "/a", good.host_path = "/b";
    config.n_mounts = 2, config.mounts = mounts;
    assert_refused(&config, -EINVAL, "path inside the task of a mount is missing");
    bad.task_path = "x";
    assert_refused(&config, -EINVAL, "'x'");
    bad.task_path = "/x";
    assert_refused(&config, -EINVAL, "host path");
    bad.host_path = "/y", bad.propagation_mode = "sideways";
    assert_refused(&config, -EINVAL, "'sideways'");

    config.n_mounts = CONVERT_SPEC_MOUNTS_MAX + 1;
    assert_refused(&config, -E2BIG, "1025 mounts");
}

static void test_resources_out_of_range_are_refused(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    Nomad__Resources resources = NOMAD__RESOURCES__INIT;
    Nomad__AllocatedTaskResources allocated = NOMAD__ALLOCATED_TASK_RESOURCES__INIT;
    Nomad__AllocatedCpuResources cpu = NOMAD__ALLOCATED_CPU_RESOURCES__INIT;
    Nomad__AllocatedMemoryResources memory = NOMAD__ALLOCATED_MEMORY_RESOURCES__INIT;
    CLEANUP_SPEC struct task_spec spec = {};

    config.resources = &resources;
    assert_taken(&config, &spec);
    resources.allocated_resources = &allocated;
    assert_taken(&config, &spec);
    allocated.cpu = &cpu, allocated.memory = &memory;
    assert_taken(&config, &spec);

    cpu.cpu_shares = -1;
    assert_refused(&config, -EINVAL, "cpu of the task is -1");
    cpu.cpu_shares = 0, memory.memory_mb = INT64_MIN;
    assert_refused(&config, -EINVAL, "memory of the task");
    memory.memory_mb = INT64_MAX;
    assert_refused(&config, -EINVAL, "memory of the task");
    memory.memory_mb = 1, memory.memory_max_mb = -2;
    assert_refused(&config, -EINVAL, "memory_max");
    memory.memory_max_mb = INT64_MAX;
    assert_refused(&config, -EINVAL, "memory_max");
}

static void test_unknown_network_mode_is_refused(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    Nomad__NetworkIsolationSpec network = NOMAD__NETWORK_ISOLATION_SPEC__INIT;

    network.mode = (Nomad__NetworkIsolationSpec__NetworkIsolationMode)77;
    config.network_isolation_spec = &network;
    assert_refused(&config, -EINVAL, "mode 77");
    network.mode = NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP;
    network.path = "netns";
    assert_refused(&config, -EINVAL, "'netns'");
}

/* --- handles --------------------------------------------------------------------------------- */

static int recover(const Nomad__TaskHandle *handle, struct fail *fail)
{
    CLEANUP_SPEC struct task_spec spec = {};

    return convert_spec_of_handle(handle, &spec, fail);
}

static void test_handle_needs_an_id_and_no_more(void **state)
{
    (void)state;
    Nomad__TaskHandle handle = NOMAD__TASK_HANDLE__INIT;
    Nomad__TaskConfig config = NOMAD__TASK_CONFIG__INIT;
    CLEANUP_FAIL struct fail fail = {};

    assert_int_equal(recover(NULL, NULL), -EINVAL);
    assert_int_equal(recover(&handle, NULL), -EINVAL);
    handle.config = &config;
    assert_int_equal(recover(&handle, &fail), -EINVAL);
    assert_non_null(strstr(fail_text(&fail), "id"));
    config.id = "a/b/c";
    assert_int_equal(recover(&handle, NULL), 0);
    config.name = "..";
    assert_int_equal(recover(&handle, NULL), -EINVAL);
}

/* A packed config cut at each byte, and with each byte another: what protobuf lets through is taken
 * or refused, and nothing else happens (this runs under the address sanitizer). */
static void test_whatever_unpacks_is_answered(void **state)
{
    (void)state;
    Nomad__TaskConfig config = least();
    Nomad__Mount mount = NOMAD__MOUNT__INIT, *mounts[] = { &mount };
    Nomad__TaskConfig__EnvEntry entry = NOMAD__TASK_CONFIG__ENV_ENTRY__INIT, *env[] = { &entry };
    Nomad__Resources resources = NOMAD__RESOURCES__INIT;
    unsigned n_taken = 0, n_refused = 0;

    mount.task_path = "/a", mount.host_path = "/b";
    entry.key = "K", entry.value = "V";
    config.n_mounts = 1, config.mounts = mounts;
    config.n_env = 1, config.env = env;
    config.resources = &resources;
    size_t n_bytes = nomad__task_config__get_packed_size(&config);
    CLEANUP_FREE uint8_t *bytes = malloc(n_bytes);
    nomad__task_config__pack(&config, bytes);

    for (size_t i = 0; i < n_bytes; i++)
        for (unsigned delta = 0; delta < 256; delta++) {
            bytes[i] = (uint8_t)(bytes[i] + 1);
            size_t n = delta == 0 ? i : n_bytes;
            Nomad__TaskConfig *odd = nomad__task_config__unpack(NULL, n, bytes);
            if (odd == NULL)
                continue;
            CLEANUP_SPEC struct task_spec spec = {};
            CLEANUP_FAIL struct fail fail = {};
            if (convert_spec(odd, &spec, &fail) < 0)
                n_refused++;
            else
                n_taken++;
            nomad__task_config__free_unpacked(odd, NULL);
        }
    assert_true(n_taken > 100 && n_refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_is_taken),
        cmocka_unit_test(test_everything_is_taken_over),
        cmocka_unit_test(test_namespace_of_an_old_host_is_in_the_environment),
        cmocka_unit_test(test_missing_parts_are_named),
        cmocka_unit_test(test_names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(test_relative_paths_are_refused_by_name),
        cmocka_unit_test(test_long_ids_names_and_paths_are_refused),
        cmocka_unit_test(test_environment_has_a_limit),
        cmocka_unit_test(test_variable_without_a_name_is_refused),
        cmocka_unit_test(test_bad_mounts_are_refused),
        cmocka_unit_test(test_resources_out_of_range_are_refused),
        cmocka_unit_test(test_unknown_network_mode_is_refused),
        cmocka_unit_test(test_handle_needs_an_id_and_no_more),
        cmocka_unit_test(test_whatever_unpacks_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
