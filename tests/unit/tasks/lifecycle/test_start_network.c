/* Tasks in networks of their own, in a network namespace of the test's: links, addresses and ports by
 * the real kernel and nft. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"
#include "tests/support/tasks/network/network.h"

#define HOST "198.51.100.1"

static int enter(void **state)
{
    int r = driver_fixture_enter(state);

    if (r < 0 || unshare(CLONE_NEWNET) < 0)
        return -1;
    network_run("ip link set lo up\n"
                "ip link add outside type veth peer name beyond\n"
                "ip address add " HOST "/24 dev outside\n"
                "ip link set outside up\n"
                "ip link set beyond up\n"
                "ip link add br0 type bridge\n"
                "ip address add 192.0.2.1/24 dev br0\n"
                "ip link set br0 up\n");
    return 0;
}

static void add_port(struct task_spec *spec, struct driver_fixture *f)
{
    (void)f;
    spec->ports = alloc_zero(1, sizeof(*spec->ports));
    spec->n_ports = 1;
    spec->ports[0] = (struct task_port){
        .label = alloc_strdup("http"),
        .host_port = 20001,
        .to = 80,
    };
    assert_true(address_parse(HOST, &spec->ports[0].host) >= 0);
}

/* Behind the options of a network, which are not those of driver_fixture_start. */
static struct asked *start(struct driver_fixture *f, const char *options)
{
    CLEANUP_FREE char *config =
        alloc_printf("{'image': '%s', 'user_namespacing': false, %s, " DRIVER_FIXTURE_WAITS "}",
                     f->image, options);

    return driver_fixture_start_config(f, config);
}

static bool is_unpublished(void *data)
{
    (void)data;
    return system("PATH=$PATH:/usr/sbin; ! nft list ruleset | grep -q 20001") == 0;
}

/* What is left of the network goes by itself. */
static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_true(event_run_until(f->event, is_unpublished, NULL));
    driver_fixture_free(f);
}

/* Whether a command succeeds, with the namespace of the container as $1. */
static bool succeeds(struct driver_fixture *f, const char *command)
{
    CLEANUP_FREE char *whole = alloc_printf("export PATH=$PATH:/usr/sbin:/sbin; set -- %d; %s",
                                            (int)fake_nspawn_leader(f->nspawn), command);

    return system(whole) == 0;
}

#define INSIDE(command) "nsenter --target $1 --net " command

static void test_a_link_of_its_own_has_an_address_of_the_pool(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, start(f, "'network_veth': true"));
    assert_non_null(f->address);
    assert_int_equal(strncmp(f->address, "10.187.", 7), 0);
    assert_true(driver_fixture_await_told(f, "Address: 10.187."));
    assert_true(succeeds(f, INSIDE("ip address show dev host0 | grep -q 'inet 10.187'")));
    assert_true(succeeds(f, INSIDE("ip route | grep -q ^default")));
    assert_true(succeeds(f, "ip -o link | grep -q ' nn-'"));
    destroy(f);
    assert_int_not_equal(system("ip -o link | grep -q ' nn-'"), 0);
}

static void test_ports_are_published_and_taken_back(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = add_port;
    driver_fixture_expect(f, start(f, "'network_veth': true, 'ports': ['http']"));
    assert_true(succeeds(f, "nft list ruleset | grep -q 20001"));
    assert_true(fake_systemd_n_units(f->systemd) > 2); /* who answers on loopback addresses */
    destroy(f);
}

static void test_a_port_that_is_taken_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    struct network_server server = { .where = "", .address = HOST, .port = 20001 };

    (void)state;
    network_serve(&server, 1);
    f->prepare = add_port;
    const struct asked *asked = start(f, "'network_veth': true, 'ports': ['http']");
    driver_fixture_await(f, asked);
    network_close(&server, 1);
    if (asked->error == 0)
        destroy(f);
    else
        driver_fixture_free(f);
}

static void test_tasks_of_a_zone_have_a_bridge(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = add_port;
    driver_fixture_expect(f, start(f, "'network_zone': 'web', 'ports': ['http']"));
    assert_true(succeeds(f, "ip address show dev vz-web | grep -q 'inet 10.187'"));
    destroy(f);
    assert_int_not_equal(system("ip link show dev vz-web > /dev/null 2>&1"), 0);
}

static void test_a_bridge_of_the_host_is_left_as_it_was(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, start(f, "'network_bridge': 'br0', 'network_address': 'auto'"));
    assert_true(succeeds(f, "ip address show dev br0 | grep -q 'inet 10.187'"));
    destroy(f);
    assert_int_not_equal(system("ip address show dev br0 | grep -q 'inet 10.187'"), 0);
    assert_int_equal(system("ip address show dev br0 | grep -q 'inet 192.0.2.1'"), 0);
}

static void test_an_address_may_be_fixed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, start(f, "'network_bridge': 'br0', "
                                      "'network_address': '192.0.2.7/24', "
                                      "'network_gateway': '192.0.2.1'"));
    assert_string_equal(f->address, "192.0.2.7");
    assert_true(succeeds(f, INSIDE("ip route | grep -q 'default via 192.0.2.1'")));
    destroy(f);
}

static void test_where_networkd_serves_dhcp_the_address_is_waited_for(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->networkd_state = "active";
    f->prepare = add_port;
    const struct asked *asked = start(f, "'network_veth': true, 'ports': ['http']");
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "started"));
    assert_int_equal(asked->n_answers, 0);
    assert_true(succeeds(f, INSIDE("ip address add 192.0.2.9/24 dev host0") " && " INSIDE(
                                "ip link set host0 up")));
    driver_fixture_expect(f, asked);
    assert_string_equal(f->address, "192.0.2.9");
    destroy(f);
}

static void test_an_address_that_does_not_come_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    const struct asked *asked =
        start(f, "'network_veth': true, 'network_address': 'dhcp', 'network_timeout': '100ms'");
    driver_fixture_await(f, asked);
    assert_int_equal(asked->error, -ETIMEDOUT);
    assert_non_null(strstr(asked->text, "has no address on 'host0' after 0.1 s"));
    driver_fixture_free(f);
}

static void test_a_recovered_task_keeps_its_address_and_ports(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = add_port;
    driver_fixture_expect(f, start(f, "'network_veth': true, 'ports': ['http']"));
    driver_fixture_end_driver(f);
    assert_int_equal(system("PATH=$PATH:/usr/sbin nft flush ruleset"), 0);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_recover(f));
    driver_fixture_let_go(f, "0");
    driver_fixture_await(f, driver_fixture_wait(f));
    destroy(f);
}

static void test_a_booted_system_gets_its_address_when_its_machine_is_known(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    CLEANUP_FREE char *config = alloc_printf("{'image': '%s', 'user_namespacing': false, "
                                             "'console': 'pipe'}",
                                             f->image);

    (void)state;
    driver_fixture_expect(f, driver_fixture_start_config(f, config));
    assert_true(succeeds(f, INSIDE("ip address show dev host0 | grep -q 'inet 10.187'")));
    destroy(f);
}

/* --- Nomad's --------------------------------------------------------------------------------- */

static void join_group(struct task_spec *spec, struct driver_fixture *f)
{
    (void)f;
    spec->network = TASK_NETWORK_GROUP;
    spec->network_path = alloc_strdup("/run/netns/group");
    spec->has_dns = true;
    strv_push(&spec->dns.servers, "192.0.2.53");
}

static void test_a_group_with_a_network_has_names(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    network_run("ip netns add group\n"
                "ip link add g0 type veth peer name eth0 netns group\n"
                "ip -n group address add 172.26.64.5/20 dev eth0\n"
                "ip -n group link set eth0 up\n");
    f->prepare = join_group;
    driver_fixture_expect(f, driver_fixture_start(f, "'boot': false, 'command': ['/bin/sh', '-c', "
                                                     "'cat /etc/hosts /etc/resolv.conf']"));
    driver_fixture_await(f, driver_fixture_wait(f));
    const char *output = driver_fixture_output(f, EXEC_STDOUT);
    assert_non_null(strstr(output, "172.26.64.5"));
    assert_non_null(strstr(output, "nameserver 192.0.2.53"));
    assert_int_equal(system("PATH=$PATH:/usr/sbin ip -n group link show dev lo | grep -q UP"), 0);
    destroy(f);
    network_run("ip netns del group\n");
}

static void test_a_group_whose_namespace_is_gone_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = join_group;
    const struct asked *asked = driver_fixture_start(f, NULL);
    driver_fixture_await(f, asked);
    assert_int_equal(asked->error, -ENOENT);
    assert_non_null(strstr(asked->text, "the group's network namespace '/run/netns/group'"));
    driver_fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_link_of_its_own_has_an_address_of_the_pool),
        FD_LEAK_TEST(test_ports_are_published_and_taken_back),
        FD_LEAK_TEST(test_a_port_that_is_taken_fails_the_start),
        FD_LEAK_TEST(test_tasks_of_a_zone_have_a_bridge),
        FD_LEAK_TEST(test_a_bridge_of_the_host_is_left_as_it_was),
        FD_LEAK_TEST(test_an_address_may_be_fixed),
        FD_LEAK_TEST(test_where_networkd_serves_dhcp_the_address_is_waited_for),
        FD_LEAK_TEST(test_an_address_that_does_not_come_fails_the_start),
        FD_LEAK_TEST(test_a_recovered_task_keeps_its_address_and_ports),
        FD_LEAK_TEST(test_a_booted_system_gets_its_address_when_its_machine_is_known),
        FD_LEAK_TEST(test_a_group_with_a_network_has_names),
        FD_LEAK_TEST(test_a_group_whose_namespace_is_gone_fails_the_start),
    };

    return cmocka_run_group_tests(tests, enter, NULL);
}
