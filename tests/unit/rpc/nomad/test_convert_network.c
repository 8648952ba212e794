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
#include "rpc/nomad/convert_network.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

#define CLEANUP_SPEC CLEANUP(task_spec_done)

/* A task with what the tests fill in. */
struct scene {
    Nomad__TaskConfig config;
    Nomad__Resources resources;
    Nomad__AllocatedTaskResources allocated;
    Nomad__NetworkResource network;
    Nomad__DNSConfig dns;
    Nomad__PortMapping port, other;
    Nomad__PortMapping *ports[2];
    Nomad__NetworkPort older[2];
    Nomad__NetworkPort *reserved[1], *dynamic[1];
    Nomad__NetworkResource *networks[1];
};

static void init(struct scene *s)
{
    *s = (struct scene){
        .config = NOMAD__TASK_CONFIG__INIT,
        .resources = NOMAD__RESOURCES__INIT,
        .allocated = NOMAD__ALLOCATED_TASK_RESOURCES__INIT,
        .network = NOMAD__NETWORK_RESOURCE__INIT,
        .dns = NOMAD__DNSCONFIG__INIT,
        .port = NOMAD__PORT_MAPPING__INIT,
        .other = NOMAD__PORT_MAPPING__INIT,
        .older = { NOMAD__NETWORK_PORT__INIT, NOMAD__NETWORK_PORT__INIT },
    };
    s->ports[0] = &s->port, s->ports[1] = &s->other;
    s->reserved[0] = &s->older[0], s->dynamic[0] = &s->older[1];
    s->networks[0] = &s->network;
    s->config.resources = &s->resources;
    s->resources.ports = s->ports;
    s->port.label = "http", s->port.value = 8080, s->port.to = 80, s->port.host_ip = "192.0.2.1";
    s->other.label = "dns", s->other.value = 53, s->other.to = -1;
}

static void take(const struct scene *s, struct task_spec *spec)
{
    CLEANUP_FAIL struct fail fail = {};

    if (convert_network(&s->config, spec, &fail) < 0)
        fail_msg("refused: %s", fail_text(&fail));
}

static void refuse(const struct scene *s, int error, const char *sentence)
{
    CLEANUP_SPEC struct task_spec spec = {};
    CLEANUP_FAIL struct fail fail = {};

    expect_fail(convert_network(&s->config, &spec, &fail), &fail, error, sentence);
}

static void test_ports_are_taken_over(void **state)
{
    CLEANUP_SPEC struct task_spec spec = {};
    struct scene s;

    (void)state;
    init(&s);
    s.resources.n_ports = 2;
    take(&s, &spec);
    assert_int_equal(spec.n_ports, 2);
    assert_string_equal(spec.ports[0].label, "http");
    assert_int_equal(spec.ports[0].host_port, 8080);
    assert_int_equal(spec.ports[0].to, 80);
    CLEANUP_FREE char *host = address_text(&spec.ports[0].host);
    assert_string_equal(host, "192.0.2.1");
    assert_int_equal(spec.ports[1].to, 53);
    assert_false(address_is_set(&spec.ports[1].host));
}

static void test_ports_of_older_jobs_are_those_of_the_first_network(void **state)
{
    CLEANUP_SPEC struct task_spec spec = {}, newer = {};
    struct scene s;

    (void)state;
    init(&s);
    s.older[0].label = "http", s.older[0].value = 8080;
    s.older[1].label = "db", s.older[1].value = 20001;
    s.network.ip = "192.0.2.9";
    s.network.n_reserved_ports = 1, s.network.reserved_ports = s.reserved;
    s.network.n_dynamic_ports = 1, s.network.dynamic_ports = s.dynamic;
    s.allocated.n_networks = 1, s.allocated.networks = s.networks;
    s.resources.allocated_resources = &s.allocated;
    take(&s, &spec);
    assert_int_equal(spec.n_ports, 2);
    assert_string_equal(spec.ports[1].label, "db");
    assert_int_equal(spec.ports[1].to, 20001);
    assert_true(address_is_set(&spec.ports[1].host));
    s.resources.n_ports = 1; /* those of the group go before them */
    take(&s, &newer);
    assert_int_equal(newer.n_ports, 1);
}

static void test_what_is_no_port_is_refused(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    s.resources.n_ports = 1;
    s.port.value = 0;
    refuse(&s, -EINVAL, "port 'http': its number on the host is 0: expected 1 to 65535");
    s.port.value = 65536;
    refuse(&s, -EINVAL, "port 'http': its number on the host is 65536: expected 1 to 65535");
    s.port.value = 1, s.port.to = 70000;
    refuse(&s, -EINVAL, "port 'http': its number inside is 70000: expected 1 to 65535");
    s.port.to = 0, s.port.host_ip = "192.0.2.1/24";
    refuse(&s, -EINVAL, "port 'http': '192.0.2.1/24' is no address of the host");
    s.port.host_ip = "localhost";
    refuse(&s, -EINVAL, "port 'http': 'localhost' is no address of the host");
    s.port.label = "";
    refuse(&s, -EINVAL, "a port of the task has no label; its number is 1");
}

static void test_a_label_can_t_hold_a_line_break(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    s.resources.n_ports = 1;
    s.port.label = "a\nport * 1 1 b";
    refuse(&s, -EINVAL, "a port's label holds a control character");
}

static void test_ports_have_a_limit(void **state)
{
    struct scene s;
    Nomad__PortMapping *many[CONVERT_NETWORK_PORTS_MAX + 1];

    (void)state;
    init(&s);
    for (size_t i = 0; i < CONVERT_NETWORK_PORTS_MAX + 1; i++)
        many[i] = &s.port;
    s.resources.ports = many;
    s.resources.n_ports = CONVERT_NETWORK_PORTS_MAX + 1;
    refuse(&s, -E2BIG, "the task has more than 1024 ports");
    s.resources.n_ports = CONVERT_NETWORK_PORTS_MAX;
    CLEANUP_SPEC struct task_spec spec = {};
    take(&s, &spec);
    assert_int_equal(spec.n_ports, CONVERT_NETWORK_PORTS_MAX);
}

static void test_the_resolver_is_words(void **state)
{
    CLEANUP_SPEC struct task_spec spec = {}, none = {};
    const char *servers[] = { "192.0.2.53" }, *options[] = { "ndots:2", "ndots:2" };
    struct scene s;

    (void)state;
    init(&s);
    s.config.dns = &s.dns;
    take(&s, &none);
    assert_false(none.has_dns);
    s.dns.n_servers = 1, s.dns.servers = servers;
    s.dns.n_options = 1, s.dns.options = options;
    take(&s, &spec);
    assert_true(spec.has_dns);
    assert_string_equal(spec.dns.servers.items[0], "192.0.2.53");
    assert_string_equal(spec.dns.options.items[0], "ndots:2");
    s.dns.n_options = 2;
    options[1] = "a\nb";
    refuse(&s, -EINVAL,
           "dns: item 2 of the options: expected a word of 1 to 255 characters without blanks");
    servers[0] = "";
    refuse(&s, -EINVAL,
           "dns: item 1 of the servers: expected a word of 1 to 255 characters without blanks");
    s.dns.n_servers = CONVERT_NETWORK_DNS_MAX + 1;
    refuse(&s, -E2BIG, "dns: 65 servers, at most 64 are taken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_ports_are_taken_over),
        FD_LEAK_TEST(test_ports_of_older_jobs_are_those_of_the_first_network),
        FD_LEAK_TEST(test_what_is_no_port_is_refused),
        FD_LEAK_TEST(test_a_label_can_t_hold_a_line_break),
        FD_LEAK_TEST(test_ports_have_a_limit),
        FD_LEAK_TEST(test_the_resolver_is_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
