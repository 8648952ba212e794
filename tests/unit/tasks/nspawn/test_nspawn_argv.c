/* The command lines are golden files, so that a diff shows what a row of the option table did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/spec/task_options_check.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"
#include "tests/support/tasks/spec/pack.h"

static struct nspawn_run run_of_web(void)
{
    return (struct nspawn_run){
        .machine = "web-1",
        .image = "/var/lib/machines/debian",
        .private_users = "pick",
    };
}

static void bind_as(struct nspawn_run *run, const char *source, const char *target,
                    struct bind_how how)
{
    assert_int_equal(binds_add(&run->binds, BIND_OWNER_JOB, source, target, how, NULL), 1);
}

/* What the config makes of a command line; appended to `argv`. */
static void make(const char *json, const struct nspawn_run *run, struct strv *argv)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP(task_options_done) struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};

    if (task_options_decode(&config, packed.bytes, packed.n_bytes, &fail) < 0 ||
        task_options_check(&config, NULL, &fail) < 0)
        fail_msg("%s: %s", json, fail_text(&fail));
    struct nspawn_run decided = *run;
    if (run->network == NETWORK_HOST)
        decided.network = network_kind_of(&config);
    nspawn_argv(&config, &decided, argv);
}

/* A line each; of several lines each begins with a bar. */
static void compare(const char *golden, const struct strv *argv)
{
    CLEANUP_FREE char *lines = strv_join(argv, "\n|"), *text = alloc_printf("|%s\n", lines);

    golden_compare(golden, text);
}

static void test_booted_system(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    make("{'image': 'debian'}", &run, &argv);
    compare("argv_boot.txt", &argv);
}

static void test_init_s_own_arguments_come_last(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    make("{'image': 'debian', 'command': ['--unit=rescue.target', '']}", &run, &argv);
    assert_string_equal(argv.items[argv.n_items - 3], "--");
    assert_string_equal(argv.items[argv.n_items - 2], "--unit=rescue.target");
    assert_string_equal(argv.items[argv.n_items - 1], "");
}

static void test_process_with_everything(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    run.private_users = "524288:65536";
    run.private_users_ownership = "chown";
    bind_as(&run, "/alloc/alloc", "/alloc", (struct bind_how){ .map = BIND_MAP_ROOTIDMAP });
    bind_as(&run, "/alloc/web/secrets", "/secrets", (struct bind_how){ .without_submounts = true });
    bind_as(&run, "/alloc/alloc/logs", "/alloc/logs", (struct bind_how){ .read_only = true,
                                               .map = BIND_MAP_IDMAP,
                                               .without_submounts = true });
    bind_as(&run, "/srv/data", "/data", (struct bind_how){});
    bind_as(&run, "/alloc/web/local/cache", "/cache", (struct bind_how){});
    bind_as(&run, "/etc/ssl", "/etc/ssl", (struct bind_how){ .read_only = true });
    make("{'image': 'debian', 'boot': false, 'command': ['/bin/sh', '-c', 'echo $HOME\necho %n'],"
         " 'ephemeral': true, 'read_only': true, 'environment': [{'SECRET': 'never in argv'}],"
         " 'working_directory': '/srv', 'user': 'web', 'hostname': 'web', 'resolv_conf': 'off',"
         " 'capability': ['CAP_NET_ADMIN', 'CAP_SYS_TIME'], 'console': 'passive'}",
         &run, &argv);
    compare("argv_process.txt", &argv);
    binds_done(&run.binds);
    assert_int_equal(run.binds.n_items, 0);
}

static void test_options_switched_off(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    run.private_users = NULL;
    make("{'image': 'debian', 'boot': false, 'process_two': false, 'command': ['/sbin/init'],"
         " 'user_namespacing': false, 'network_veth': false, 'ephemeral': false,"
         " 'read_only': false}",
         &run, &argv);
    compare("argv_off.txt", &argv);
}

/* The one argument of networks that there is; "": none. Borrowed from `argv`. */
static const char *network_argument(const struct strv *argv)
{
    const char *found = "";

    for (size_t i = 0; i < argv->n_items; i++) {
        const char *item = argv->items[i];
        if (strncmp(item, "--network-", 10) != 0 && strcmp(item, "--private-network") != 0)
            continue;
        if (*found != '\0')
            fail_msg("'%s' beside '%s'", item, found);
        found = item;
    }
    return found;
}

static const struct {
    const char *options, *argument;
} networks[] = {
    { "'network_veth': true", "--network-veth" },
    { "'network_veth': false", "" },
    { "'network_zone': 'lane'", "--network-zone=lane" },
    { "'network_zone': 'lane', 'network_veth': true", "--network-zone=lane" },
    { "'network_bridge': 'br0'", "--network-bridge=br0" },
    { "'network_bridge': 'br0', 'network_veth': true", "--network-bridge=br0" },
    { "'network_macvlan': 'eth0'", "--network-macvlan=eth0" },
    { "'network_ipvlan': 'eth0'", "--network-ipvlan=eth0" },
    { "'network_interface': 'eth1'", "--network-interface=eth1" },
    { "'private_network': true", "--private-network" },
    { "'private_network': false", "--network-veth" },
};

static void test_each_network_has_one_argument(void **state)
{
    struct nspawn_run run = run_of_web();

    (void)state;
    for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
        CLEANUP(strv_done) struct strv argv = {};
        CLEANUP_FREE char *json = alloc_printf("{'image': 'debian', %s}", networks[i].options);
        make(json, &run, &argv);
        assert_string_equal(network_argument(&argv), networks[i].argument);
    }
}

static void test_network_of_nomad_s_takes_all_away(void **state)
{
    struct nspawn_run run = run_of_web();

    (void)state;
    run.network = NETWORK_GROUP;
    for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
        CLEANUP(strv_done) struct strv argv = {};
        CLEANUP_FREE char *json = alloc_printf("{'image': 'debian', %s}", networks[i].options);
        make(json, &run, &argv);
        assert_string_equal(network_argument(&argv), "");
    }
}

/* As a group without a network makes it, whatever the job says by default. */
static void test_loopback_alone_needs_no_option(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    run.network = NETWORK_PRIVATE;
    make("{'image': 'debian'}", &run, &argv);
    assert_string_equal(network_argument(&argv), "--private-network");
}

static void test_link_under_our_name(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    run.veth = "nn-0123456789";
    make("{'image': 'debian'}", &run, &argv);
    assert_string_equal(network_argument(&argv), "--network-veth-extra=nn-0123456789:host0");
}

static void test_addresses_and_ports_are_no_business_of_nspawn_s(void **state)
{
    CLEANUP(strv_done) struct strv argv = {}, without = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    make("{'image': 'debian'}", &run, &without);
    make("{'image': 'debian', 'network_address': '192.0.2.7/24', 'network_gateway': '192.0.2.1',"
         " 'network_timeout': '1s', 'ports': ['http']}",
         &run, &argv);
    assert_int_equal(argv.n_items, without.n_items);
    for (size_t i = 0; i < argv.n_items; i++)
        assert_string_equal(argv.items[i], without.items[i]);
}

static void test_resolver_of_the_driver_s(void **state)
{
    CLEANUP(strv_done) struct strv argv = {}, of_job = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    make("{'image': 'debian', 'resolv_conf': 'bind-host'}", &run, &of_job);
    assert_true(strv_contains(&of_job, "--resolv-conf=bind-host"));
    run.resolv_conf = "off";
    make("{'image': 'debian', 'resolv_conf': 'bind-host'}", &run, &argv);
    assert_true(strv_contains(&argv, "--resolv-conf=off"));
    assert_false(strv_contains(&argv, "--resolv-conf=bind-host"));
}

static void test_paths_of_binds_are_escaped(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    struct nspawn_run run = run_of_web();

    (void)state;
    bind_as(&run, "/a:b\\c", "/d:idmap", (struct bind_how){});
    bind_as(&run, "/\\", "/:", (struct bind_how){});
    make("{'image': 'debian'}", &run, &argv);
    assert_true(strv_contains(&argv, "--bind=/a\\:b\\\\c:/d\\:idmap"));
    assert_true(strv_contains(&argv, "--bind=/\\\\:/\\:"));
    binds_done(&run.binds);
}

/* Sets the option; answers what is to stand behind the '=' of its argument. */
static const char *set_option(const struct option_row *option, struct task_options *config)
{
    switch (option->type) {
    case OPTION_TYPE_TRISTATE:
        *option_tristate(option, config) = TRISTATE_YES;
        return "";
    case OPTION_TYPE_STRING:
        *option_string(option, config) = alloc_strdup("%s value");
        return "%s value";
    case OPTION_TYPE_STRING_LIST:
        strv_push(option_string_list(option, config), "a");
        strv_push(option_string_list(option, config), "b");
        return "a,b";
    default: /* the binds, which have tests of their own */
        return NULL;
    }
}

static void test_every_row_adds_its_argument_alone(void **state)
{
    static const size_t n_fixed = 11; /* of every booted system, `--boot` and `ls` included */

    (void)state;
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++) {
        if (option->argument == NULL)
            continue;
        CLEANUP(strv_done) struct strv argv = {};
        CLEANUP(task_options_done) struct task_options config = {};
        struct nspawn_run run = run_of_web();
        const char *value = set_option(option, &config);
        if (value == NULL)
            continue;

        /* As task_options_check leaves it when only this option was written. */
        config.boot = TRISTATE_YES;
        config.process_two = TRISTATE_NO;
        strv_push(&config.command, "ls");
        run.network = network_kind_of(&config);
        nspawn_argv(&config, &run, &argv);
        CLEANUP_FREE char *expected = alloc_printf(
                "%.*s%s", (int)strcspn(option->argument, "%"), option->argument, value);
        if (!strv_contains(&argv, expected))
            fail_msg("option '%s': no argument '%s'", option->key, expected);
        assert_int_equal(argv.n_items, n_fixed + (strcmp(option->key, "boot") != 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_booted_system),
        FD_LEAK_TEST(test_init_s_own_arguments_come_last),
        FD_LEAK_TEST(test_process_with_everything),
        FD_LEAK_TEST(test_options_switched_off),
        FD_LEAK_TEST(test_each_network_has_one_argument),
        FD_LEAK_TEST(test_network_of_nomad_s_takes_all_away),
        FD_LEAK_TEST(test_loopback_alone_needs_no_option),
        FD_LEAK_TEST(test_link_under_our_name),
        FD_LEAK_TEST(test_addresses_and_ports_are_no_business_of_nspawn_s),
        FD_LEAK_TEST(test_resolver_of_the_driver_s),
        FD_LEAK_TEST(test_paths_of_binds_are_escaped),
        FD_LEAK_TEST(test_every_row_adds_its_argument_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
