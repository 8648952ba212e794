/* Which network a task gets, and where its address comes from: what can be, and each sentence about
 * what can't, those of task_options_check's too. Ports and times: test_network_plan_ports.c. */
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
#include "tasks/network/network_plan.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network_group.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* --- which network --------------------------------------------------------------------------- */

static void test_each_option_is_a_kind_of_network(void **state)
{
    static const struct {
        const char *options;
        enum network_kind kind;
        enum network_mode mode;
        const char *link;
    } rows[] = {
        { "", NETWORK_VETH, NETWORK_MODE_UNSET, "host0" },
        { "'network_veth': true", NETWORK_VETH, NETWORK_MODE_UNSET, "host0" },
        { "'network_veth': false", NETWORK_HOST, NETWORK_MODE_DHCP, NULL },
        { "'network_zone': 'lane'", NETWORK_ZONE, NETWORK_MODE_UNSET, "host0" },
        { "'network_zone': 'lane', 'network_veth': true", NETWORK_ZONE, NETWORK_MODE_UNSET,
          "host0" },
        { "'network_zone': 'lane', 'network_veth': false", NETWORK_ZONE, NETWORK_MODE_UNSET,
          "host0" },
        { "'network_bridge': 'br0'", NETWORK_BRIDGE, NETWORK_MODE_DHCP, "host0" },
        { "'network_macvlan': 'eth0'", NETWORK_MACVLAN, NETWORK_MODE_DHCP, "mv-*" },
        { "'network_ipvlan': 'eth0'", NETWORK_IPVLAN, NETWORK_MODE_DHCP, "iv-*" },
        { "'network_interface': 'eth1'", NETWORK_INTERFACE, NETWORK_MODE_DHCP, "eth1" },
        { "'private_network': true", NETWORK_PRIVATE, NETWORK_MODE_DHCP, NULL },
        { "'private_network': false", NETWORK_VETH, NETWORK_MODE_UNSET, "host0" },
    };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP(task_options_done) struct task_options config = {};
        CLEANUP(network_plan_done) struct network_plan plan = {};
        CLEANUP_FAIL struct fail fail = {};

        assert_int_equal(network_group_plan(&group, rows[i].options, &plan, &config, &fail), 0);
        if (plan.kind != rows[i].kind || plan.mode != rows[i].mode)
            fail_msg("%s: kind %d, mode %d", rows[i].options, plan.kind, plan.mode);
        CLEANUP_FREE char *link = network_kind_link(plan.kind, &config);
        if (rows[i].link == NULL)
            assert_null(link);
        else
            assert_string_equal(link, rows[i].link);
        assert_int_equal(plan.n_ports, 0);
        assert_false(plan.needs_address);
        assert_int_equal(plan.timeout_usec, UINT64_C(10000000));
    }
}

/* One of each pair, whichever they are. */
static void test_no_two_networks(void **state)
{
    static const struct {
        const char *key, *value;
    } rows[] = {
        { "network_zone", "'a'" },   { "network_bridge", "'b'" },    { "network_macvlan", "'c'" },
        { "network_ipvlan", "'d'" }, { "network_interface", "'e'" }, { "private_network", "true" },
        { "network_veth", "true" },
    };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        for (size_t j = i + 1; j < N(rows); j++) {
            CLEANUP_FREE char *options = alloc_printf("'%s': %s, '%s': %s", rows[j].key,
                                                      rows[j].value, rows[i].key, rows[i].value);
            CLEANUP_FREE char *text =
                alloc_printf("options '%s' and '%s' exclude each other: a container has one "
                             "network; remove one of them",
                             rows[i].key, rows[j].key);
            if (i < 2 && strcmp(rows[j].key, "network_veth") == 0)
                continue; /* by which zones and bridges are reached anyway */
            network_group_expect_refused(&group, options, -EINVAL, text);
        }
    }
}

static void test_names_of_interfaces_are_the_kernel_s(void **state)
{
    static const struct {
        const char *key;
        int n_max;
    } rows[] = {
        { "network_zone", 12 },   { "network_bridge", 15 },    { "network_macvlan", 15 },
        { "network_ipvlan", 15 }, { "network_interface", 15 },
    };
    static const char *const names[] = { ".",   "..",  "a b",      "a/b",
                                         "a:b", "a%d", "\xc3\xa4", "a-name-too-long-for-all" };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        for (size_t j = 0; j < N(names); j++) {
            CLEANUP_FREE char *options = alloc_printf("'%s': '%s'", rows[i].key, names[j]);
            CLEANUP_FREE char *text =
                alloc_printf("option '%s': '%s' is no name for it; at most %d letters, digits, "
                             "'-', '_' and '.' are taken",
                             rows[i].key, names[j], rows[i].n_max);
            network_group_expect_refused(&group, options, -EINVAL, text);
        }
        CLEANUP_FREE char *longest = alloc_printf("'%s': '%.*s'", rows[i].key, rows[i].n_max,
                                                  "a-b_c.d-e_f.g-h");
        CLEANUP(network_plan_done) struct network_plan plan = network_group_expect(&group, longest);
        assert_int_not_equal(plan.kind, NETWORK_VETH);
    }
}

/* --- the group's ----------------------------------------------------------------------------- */

static void test_the_group_s_network_is_the_task_s(void **state)
{
    struct network_group group;

    (void)state;
    network_group_init_joined(&group);
    static const char *const options[] = { "", "'network_veth': true", "'network_veth': false" };
    for (size_t i = 0; i < N(options); i++) {
        CLEANUP(network_plan_done)
        struct network_plan plan = network_group_expect(&group, options[i]);
        assert_int_equal(plan.kind, NETWORK_GROUP);
        assert_false(plan.needs_address);
        assert_null(network_kind_link(plan.kind, &(struct task_options){}));
    }
    /* Nomad publishes its ports. */
    CLEANUP(network_plan_done)
    struct network_plan plan = network_group_expect(&group, "'ports': ['http']");
    assert_int_equal(plan.n_ports, 0);
    assert_null(plan.ports);

    group.spec.network_path = NULL;
    network_group_expect_refused(&group, "", -EINVAL,
                                 "the path of the group's network namespace is missing");
    group.spec.network = TASK_NETWORK_NONE;
    plan = network_group_expect(&group, "");
    assert_int_equal(plan.kind, NETWORK_PRIVATE);
}

static void test_a_group_s_network_takes_no_other_beside_it(void **state)
{
    static const struct {
        const char *option, *options;
    } rows[] = {
        { "network_zone", "'network_zone': 'a'" },
        { "network_bridge", "'network_bridge': 'b'" },
        { "network_macvlan", "'network_macvlan': 'c'" },
        { "network_ipvlan", "'network_ipvlan': 'd'" },
        { "network_interface", "'network_interface': 'e'" },
        { "private_network", "'private_network': true" },
        { "network_address", "'network_address': 'auto'" },
    };
    struct network_group group;

    (void)state;
    network_group_init_joined(&group);
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP_FREE char *text =
            alloc_printf("option '%s': the task is in the network of its group; remove the "
                         "option, or the group's `network { mode }`",
                         rows[i].option);
        network_group_expect_refused(&group, rows[i].options, -EINVAL, text);
    }
    group.spec.network = TASK_NETWORK_TASK;
    network_group_expect_refused(
        &group, "", -EOPNOTSUPP,
        "the group's network mode \"driver\" is not offered by this driver; leave the "
        "group's `network { mode }` out, and use the network options of the task's "
        "config");
}

/* --- addresses ------------------------------------------------------------------------------- */

static void test_where_the_address_comes_from(void **state)
{
    CLEANUP(network_plan_done) struct network_plan plan = {};
    struct network_group group;

    (void)state;
    network_group_init(&group);
    plan = network_group_expect(&group, "'network_address': 'dhcp'");
    assert_int_equal(plan.mode, NETWORK_MODE_DHCP);
    static const char *const ours[] = { "'network_veth': true", "'network_zone': 'a'",
                                        "'network_bridge': 'b'" };
    for (size_t i = 0; i < N(ours); i++) {
        CLEANUP_FREE char *options = alloc_printf("%s, 'network_address': 'auto'", ours[i]);
        plan = network_group_expect(&group, options);
        assert_int_equal(plan.mode, NETWORK_MODE_AUTO);
        assert_false(address_is_set(&plan.address));
    }
    plan = network_group_expect(
            &group, "'network_address': '192.0.2.7/24', 'network_gateway': '192.0.2.1'");
    assert_int_equal(plan.mode, NETWORK_MODE_FIXED);
    CLEANUP_FREE char *address = address_cidr(&plan.address);
    CLEANUP_FREE char *gateway = address_text(&plan.gateway);
    assert_string_equal(address, "192.0.2.7/24");
    assert_string_equal(gateway, "192.0.2.1");
    plan = network_group_expect(&group,
                                "'network_macvlan': 'c', 'network_address': '2001:db8::7/64'");
    assert_int_equal(plan.mode, NETWORK_MODE_FIXED);
    assert_int_equal(plan.address.family, AF_INET6);
    assert_false(address_is_set(&plan.gateway));
}

static void test_what_is_no_address_of_a_container(void **state)
{
    static const char *const addresses[] = {
        "auto ",       "AUTO",        "192.0.2.7",      "192.0.2.7/0", "0.0.0.0/24",
        "127.0.0.1/8", "224.0.0.1/4", "192.0.2.7/33",   "2001:db8::7", "::/64",
        "::1/128",     "ff02::1/64",  "192.0.2.300/24",
    };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(addresses); i++) {
        CLEANUP_FREE char *options = alloc_printf("'network_address': '%s'", addresses[i]);
        CLEANUP_FREE char *text = alloc_printf(
            "option 'network_address': '%s': expected \"dhcp\", \"auto\", or an address with "
            "the length of its network's prefix, like \"192.0.2.7/24\"",
            addresses[i]);
        network_group_expect_refused(&group, options, -EINVAL, text);
    }
}

static void test_what_is_no_gateway(void **state)
{
    static const struct {
        const char *address, *gateway, *family;
    } rows[] = {
        { "192.0.2.7/24", "192.0.2.1/24", "IPv4" }, { "192.0.2.7/24", "2001:db8::1", "IPv4" },
        { "192.0.2.7/24", "0.0.0.0", "IPv4" },      { "192.0.2.7/24", "router", "IPv4" },
        { "2001:db8::7/64", "192.0.2.1", "IPv6" },  { "2001:db8::7/64", "ff02::1", "IPv6" },
    };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP_FREE char *options = alloc_printf(
            "'network_address': '%s', 'network_gateway': '%s'", rows[i].address, rows[i].gateway);
        CLEANUP_FREE char *text =
            alloc_printf("option 'network_gateway': '%s': expected an %s address without a length",
                         rows[i].gateway, rows[i].family);
        network_group_expect_refused(&group, options, -EINVAL, text);
    }
    network_group_expect_refused(
        &group, "'network_address': '192.0.2.7/24', 'network_gateway': '192.0.2.7'", -EINVAL,
        "option 'network_gateway': '192.0.2.7' is the container's own address");
    static const char *const without[] = {
        "'network_gateway': '192.0.2.1'",
        "'network_gateway': '192.0.2.1', 'network_address': 'dhcp'",
        "'network_gateway': '192.0.2.1', 'network_address': 'auto'"
    };
    for (size_t i = 0; i < N(without); i++)
        network_group_expect_refused(
            &group, without[i], -EINVAL,
            "option 'network_gateway' needs an address in 'network_address'; remove it, "
            "or write both");
}

static void test_addresses_need_a_link_and_auto_one_of_ours(void **state)
{
    static const char *const others[] = { "network_macvlan", "network_ipvlan",
                                          "network_interface" };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    network_group_expect_refused(
        &group, "'network_veth': false, 'network_address': 'dhcp'", -EINVAL,
        "option 'network_address': the container has no link of its own (network_veth = "
        "false); remove the option");
    network_group_expect_refused(&group,
                                 "'private_network': true, 'network_address': '192.0.2.7/24'",
                                 -EINVAL,
                                 "option 'network_address': the container has no link of its own "
                                 "(private_network = true); remove the option");
    for (size_t i = 0; i < N(others); i++) {
        CLEANUP_FREE char *options = alloc_printf("'%s': 'eth0', 'network_address': 'auto'",
                                                  others[i]);
        CLEANUP_FREE char *text = alloc_printf(
            "option 'network_address': \"auto\" needs a network that this host makes "
            "(network_veth, network_zone or network_bridge); with '%s' use \"dhcp\", or write "
            "the address",
            others[i]);
        network_group_expect_refused(&group, options, -EINVAL, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_each_option_is_a_kind_of_network),
        FD_LEAK_TEST(test_no_two_networks),
        FD_LEAK_TEST(test_names_of_interfaces_are_the_kernel_s),
        FD_LEAK_TEST(test_the_group_s_network_is_the_task_s),
        FD_LEAK_TEST(test_a_group_s_network_takes_no_other_beside_it),
        FD_LEAK_TEST(test_where_the_address_comes_from),
        FD_LEAK_TEST(test_what_is_no_address_of_a_container),
        FD_LEAK_TEST(test_what_is_no_gateway),
        FD_LEAK_TEST(test_addresses_need_a_link_and_auto_one_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
