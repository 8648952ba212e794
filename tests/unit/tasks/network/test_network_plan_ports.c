/* What is published of a task, how long its start waits, and who says what its resolver is. */
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

#define SECOND_USEC UINT64_C(1000000)

/* --- ports ----------------------------------------------------------------------------------- */

static void expect_port(const struct network_port *port, const char *label, const char *host,
                        uint16_t host_port, uint16_t to)
{
    assert_string_equal(port->label, label);
    assert_int_equal(port->host_port, host_port);
    assert_int_equal(port->port, to);
    assert_int_equal(address_is_set(&port->host), host != NULL);
    if (host != NULL) {
        CLEANUP_FREE char *text = address_text(&port->host);
        assert_string_equal(text, host);
    }
}

static void test_labels_are_published_in_their_order(void **state)
{
    CLEANUP(network_plan_done) struct network_plan plan = {};
    struct network_group group;

    (void)state;
    network_group_init(&group);
    plan = network_group_expect(&group, "'ports': ['any', 'http', 'admin']");
    assert_int_equal(plan.n_ports, 3);
    assert_true(plan.needs_address);
    expect_port(&plan.ports[0], "any", NULL, 20003, 9000);
    expect_port(&plan.ports[1], "http", "198.51.100.1", 20001, 80);
    expect_port(&plan.ports[2], "admin", NULL, 20002, 20002);
    network_plan_done(&plan);
    assert_int_equal(plan.n_ports, 0);
    assert_null(plan.ports);
}

static void test_port_map_publishes_all(void **state)
{
    CLEANUP(network_plan_done) struct network_plan plan = {};
    struct network_group group;

    (void)state;
    network_group_init(&group);
    plan = network_group_expect(&group, "'port_map': [{'admin': 8080}]");
    assert_int_equal(plan.n_ports, 3);
    expect_port(&plan.ports[0], "http", "198.51.100.1", 20001, 80);
    expect_port(&plan.ports[1], "admin", NULL, 20002, 8080);
    expect_port(&plan.ports[2], "any", NULL, 20003, 9000);

    struct network_port *copy = NULL;
    size_t n_copied = 0;
    network_ports_copy(plan.ports, plan.n_ports, &copy, &n_copied);
    assert_int_equal(n_copied, 3);
    assert_ptr_not_equal(copy[1].label, plan.ports[1].label);
    expect_port(&copy[1], "admin", NULL, 20002, 8080);
    network_ports_done(copy, n_copied);
}

static void test_labels_that_nomad_does_not_have(void **state)
{
    struct network_group group;

    (void)state;
    network_group_init(&group);
    network_group_expect_refused(
        &group, "'ports': ['web']", -EINVAL,
        "option 'ports': the group's `network` block has no port \"web\"; it has http, "
        "admin, any");
    network_group_expect_refused(
        &group, "'port_map': [{'web': 80}]", -EINVAL,
        "option 'port_map': the group's `network` block has no port \"web\"; it has http, "
        "admin, any");
    network_group_expect_refused(&group, "'ports': ['http', 'any', 'http']", -EINVAL,
                                 "option 'ports': \"http\" is there twice");
    network_group_expect_refused(
        &group, "'ports': ['http'], 'port_map': [{'http': 80}]", -EINVAL,
        "options 'ports' and 'port_map' say the same in two ways; remove port_map");
    network_group_expect_refused(&group, "'port_map': [{'http': 0}]", -EINVAL,
                                 "option 'port_map': port 0 of \"http\": expected 1 to 65535");
    network_group_expect_refused(&group, "'port_map': [{'http': 65536}]", -EINVAL,
                                 "option 'port_map': port 65536 of \"http\": expected 1 to 65535");
    group.spec.n_ports = 0;
    network_group_expect_refused(
        &group, "'ports': ['web']", -EINVAL,
        "option 'ports': the group's `network` block has no port \"web\"; it has none");
}

static void test_ports_need_a_link_of_ours(void **state)
{
    static const char *const others[] = { "network_macvlan", "network_ipvlan",
                                          "network_interface" };
    static const struct {
        const char *option, *options;
    } rows[] = { { "ports", "'ports': ['http']" }, { "port_map", "'port_map': [{'http': 80}]" } };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP_FREE char *host = alloc_printf("'network_veth': false, %s", rows[i].options);
        CLEANUP_FREE char *host_text =
            alloc_printf("option '%s': the container uses the host's network (network_veth = "
                         "false), where its ports are the host's own; remove the option",
                         rows[i].option);
        network_group_expect_refused(&group, host, -EINVAL, host_text);
        CLEANUP_FREE char *alone = alloc_printf("'private_network': true, %s", rows[i].options);
        CLEANUP_FREE char *alone_text =
            alloc_printf("option '%s': the container has only a loopback; remove the option, or "
                         "private_network",
                         rows[i].option);
        network_group_expect_refused(&group, alone, -EINVAL, alone_text);
        for (size_t j = 0; j < N(others); j++) {
            CLEANUP_FREE char *options = alloc_printf("'%s': 'a', %s", others[j], rows[i].options);
            CLEANUP_FREE char *text =
                alloc_printf("option '%s': with '%s' the container is reached by its own "
                             "address; remove the option",
                             rows[i].option, others[j]);
            network_group_expect_refused(&group, options, -EINVAL, text);
        }
    }
}

/* --- time, names ----------------------------------------------------------------------------- */

static void test_times_are_nomad_s(void **state)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } rows[] = {
        { "1ms", 1000 },
        { "500ms", 500000 },
        { "10s", 10 * SECOND_USEC },
        { "1m30s", 90 * SECOND_USEC },
        { "1h", 3600 * SECOND_USEC },
        { "60m", 3600 * SECOND_USEC },
        { "0s1ms", 1000 },
    };
    static const char *const wrong[] = { "10",    "s",   "soon",      "0s",
                                         "1h1ms", "-1s",   "1 s", "1.5s",      "10us",
                                         "1sm",   "61m",   "1s ", "1d",        "ms1",
                                         "2h",  "999999999s" };
    struct network_group group;

    (void)state;
    network_group_init(&group);
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP_FREE char *options = alloc_printf("'network_timeout': '%s'", rows[i].text);
        struct network_plan plan = network_group_expect(&group, options);
        assert_int_equal(plan.timeout_usec, rows[i].usec);
        network_plan_done(&plan);
    }
    for (size_t i = 0; i < N(wrong); i++) {
        CLEANUP_FREE char *options = alloc_printf("'network_timeout': '%s'", wrong[i]);
        CLEANUP_FREE char *text =
                alloc_printf("option 'network_timeout': '%s': expected a time like \"10s\" or "
                             "\"1m30s\", at most an hour",
                             wrong[i]);
        network_group_expect_refused(&group, options, -EINVAL, text);
    }
}

static void test_a_time_that_is_written_is_waited_for(void **state)
{
    CLEANUP(network_plan_done) struct network_plan plan = {};
    struct network_group group;

    (void)state;
    network_group_init(&group);
    plan = network_group_expect(&group, "'network_timeout': '1m30s'");
    assert_true(plan.needs_address);
    assert_int_equal(plan.timeout_usec, 90 * SECOND_USEC);
    plan = network_group_expect(&group, "'network_timeout': '1s', 'network_veth': false");
    assert_false(plan.needs_address); /* there is none to come */
    network_group_expect_refused(
        &group, "'network_timeout': 'soon'", -EINVAL,
        "option 'network_timeout': 'soon': expected a time like \"10s\" or \"1m30s\", at "
        "most an hour");
}

static void test_one_says_what_resolv_conf_is(void **state)
{
    struct network_group group;

    (void)state;
    network_group_init(&group);
    group.spec.has_dns = true;
    CLEANUP(network_plan_done) struct network_plan plan = network_group_expect(&group, "");
    assert_int_equal(plan.kind, NETWORK_VETH);
    network_group_expect_refused(
        &group, "'resolv_conf': 'off'", -EINVAL,
        "option 'resolv_conf' and the group's `network { dns }` both say what "
        "/etc/resolv.conf is; remove one of them");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_labels_are_published_in_their_order),
        FD_LEAK_TEST(test_port_map_publishes_all),
        FD_LEAK_TEST(test_labels_that_nomad_does_not_have),
        FD_LEAK_TEST(test_ports_need_a_link_of_ours),
        FD_LEAK_TEST(test_times_are_nomad_s),
        FD_LEAK_TEST(test_a_time_that_is_written_is_waited_for),
        FD_LEAK_TEST(test_one_says_what_resolv_conf_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
