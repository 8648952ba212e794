/* Who has which address and which port. What the packet filter is told: test_networks_publish.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/network/address_pool.h"
#include "tasks/network/networks.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/network/networks_fixture.h"

#define CLEANUP_FIXTURE CLEANUP(networks_fixture_done)
#define HEAD            "nomad-driver-nspawn network 1\n"

static char *text_of(const struct address *address)
{
    return address_is_set(address) ? address_cidr(address) : alloc_strdup("none");
}

static void expect_address(const struct address *address, const char *text)
{
    CLEANUP_FREE char *is = text_of(address);

    assert_string_equal(is, text);
}

/* --- addresses ------------------------------------------------------------------------------- */

#define N_MACHINES 60

/* Of three of them one has a link of its own, and each other is in one of two zones. */
static const char *share_of(size_t i)
{
    static const char *const shares[] = { NULL, "vz-a", "vz-b" };

    return shares[i % 3];
}

static void expect_all_different(const struct address *addresses)
{
    for (size_t i = 0; i < N_MACHINES; i++)
        for (size_t j = 0; j < N_MACHINES; j++) {
            if (i == j || !address_is_set(&addresses[i]) || !address_is_set(&addresses[j]))
                continue;
            assert_false(address_is_same(&addresses[i], &addresses[j]));
            bool is_one_share = i % 3 == j % 3 && i % 3 != 0;
            assert_int_equal(address_is_in(&addresses[i], &addresses[j]), is_one_share);
        }
}

/* In an order which looks random and is always the same: addresses are taken and given back, and
 * now and then another plugin takes over. */
static void test_no_two_machines_have_one_address(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct address addresses[N_MACHINES] = {};
    unsigned random = 1;

    (void)state;
    networks_fixture_init(&f);
    for (unsigned step = 0; step < 400; step++) {
        random = random * 1103515245 + 12345;
        size_t i = (random >> 16) % N_MACHINES;
        CLEANUP_FREE char *machine = alloc_printf("web-%zu", i);
        if (address_is_set(&addresses[i])) {
            networks_remove(f.networks, machine);
            addresses[i] = (struct address){};
        } else {
            networks_fixture_lease(&f, machine, share_of(i), &addresses[i]);
            assert_true(address_is_in(&addresses[i], &f.config.pool));
        }
        expect_all_different(addresses);
        if (step % 50 == 49)
            networks_fixture_restart(&f);
    }
}

static void test_a_lease_is_nobodys_until_a_record_holds_it(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FAIL struct fail fail = {};
    struct address first, again, kept, other;

    (void)state;
    networks_fixture_init(&f);
    assert_int_equal(networks_lease(f.networks, NULL, &first, &fail), 0);
    assert_int_equal(networks_lease(f.networks, NULL, &again, &fail), 0);
    assert_true(address_is_same(&first, &again));
    networks_fixture_lease(&f, "web-1", NULL, &kept);
    assert_true(address_is_same(&first, &kept));
    assert_int_equal(networks_lease(f.networks, NULL, &other, &fail), 0);
    assert_false(address_is_in(&other, &kept));
}

static void test_a_pool_that_is_used_up_is_told(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FAIL struct fail fail = {};
    struct address address;

    (void)state;
    networks_fixture_init(&f);
    f.config.pool.prefix = 24;
    for (unsigned i = 0; i < 64; i++) {
        CLEANUP_FREE char *machine = alloc_printf("web-%u", i);
        networks_fixture_lease(&f, machine, NULL, &address);
    }
    expect_fail_with(networks_lease(f.networks, NULL, &address, &fail), &fail, -ENOSPC,
                     "no address is free in the agent's network_pool 10.187.0.0/24");
    networks_remove(f.networks, "web-17");
    assert_int_equal(networks_lease(f.networks, NULL, &address, &fail), 0);
}

static void expect_hosts(const struct networks_fixture *f, const struct network_record *record,
                         const char *ipv4, const char *ipv6)
{
    struct address hosts[NETWORK_RECORD_FAMILIES] = {};

    networks_hosts(f->networks, record, hosts);
    expect_address(&hosts[NETWORK_RECORD_IPV4], ipv4);
    expect_address(&hosts[NETWORK_RECORD_IPV6], ipv6);
}

static void test_the_hosts_addresses_are_the_first_of_the_block(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct network_record record = {};

    (void)state;
    networks_fixture_init(&f);
    expect_hosts(&f, &record, "none", "none");
    assert_int_equal(address_parse("10.187.0.6/30", &record.lease), 0);
    expect_hosts(&f, &record, "10.187.0.5/30", "fd00:187::abb:5/126");
    f.config.pool6 = (struct address){};
    expect_hosts(&f, &record, "10.187.0.5/30", "none");
    /* Made when the pool was another one. */
    assert_int_equal(address_parse("fd99::abb:6/126", &record.addresses[NETWORK_RECORD_IPV6]), 0);
    expect_hosts(&f, &record, "10.187.0.5/30", "fd99::abb:5/126");
}

static void test_zones_are_ours_as_long_as_one_machine_says_so(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP(strv_done) struct strv zones = {};

    (void)state;
    networks_fixture_init(&f);
    for (unsigned i = 0; i < 4; i++) {
        static const char *const machines[] = { "a-1", "a-2", "b-1", "c-1" };
        static const char *const shares[] = { "vz-a", "vz-a", "vz-b", NULL };
        struct network_record record = networks_fixture_record(&f, machines[i], shares[i]);
        record.is_owned = i < 2;
        assert_int_equal(networks_lease(f.networks, shares[i], &record.lease, NULL), 0);
        networks_fixture_set(&f, &record);
    }
    assert_true(networks_owns_zone(f.networks, "vz-a"));
    assert_false(networks_owns_zone(f.networks, "vz-b"));
    networks_list_zones(f.networks, &zones);
    assert_int_equal(zones.n_items, 1);
    assert_string_equal(zones.items[0], "vz-a");
    assert_true(networks_share_is_used(f.networks, "vz-a", "a-1"));
    assert_false(networks_share_is_used(f.networks, "vz-b", "b-1"));
    assert_true(networks_share_is_used(f.networks, "vz-b", "a-1"));
    networks_remove(f.networks, "a-2");
    assert_false(networks_share_is_used(f.networks, "vz-a", "a-1"));
    assert_true(networks_owns_zone(f.networks, "vz-a"));
    networks_remove(f.networks, "a-1");
    assert_false(networks_owns_zone(f.networks, "vz-a"));
}

/* --- files ----------------------------------------------------------------------------------- */

static void test_another_plugin_knows_what_was_set(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct network_record record;

    (void)state;
    networks_fixture_init(&f);
    record = networks_fixture_record(&f, "web-1", "vz-a");
    networks_fixture_port(&record, "192.0.2.1", 8080, 80);
    networks_fixture_port(&record, NULL, 53, 53);
    assert_int_equal(networks_lease(f.networks, "vz-a", &record.lease, NULL), 0);
    record.addresses[NETWORK_RECORD_IPV4] = record.lease;
    CLEANUP_FREE char *text = network_record_format(&record);
    networks_fixture_set(&f, &record);
    networks_fixture_restart(&f);
    const struct network_record *found = networks_find(f.networks, "web-1");
    assert_non_null(found);
    assert_string_equal(found->machine, "web-1");
    CLEANUP_FREE char *again = network_record_format(found);
    assert_string_equal(again, text);
    assert_null(networks_find(f.networks, "web-2"));
}

static void test_a_record_replaces_the_machines_older_one(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct network_record record;

    (void)state;
    networks_fixture_init(&f);
    for (uint16_t port = 1; port <= 3; port++) {
        record = networks_fixture_record(&f, "web-1", NULL);
        networks_fixture_port(&record, NULL, port, port);
        networks_fixture_set(&f, &record);
        const struct network_record *found = networks_find(f.networks, "web-1");
        assert_int_equal(found->n_ports, 1);
        assert_int_equal(found->ports[0].port, port);
    }
    networks_fixture_restart(&f);
    assert_int_equal(networks_find(f.networks, "web-1")->ports[0].port, 3);
}

static void test_what_was_removed_is_not_there_for_another_plugin(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FREE char *path = NULL;
    struct address address;

    (void)state;
    networks_fixture_init(&f);
    networks_fixture_lease(&f, "web-1", NULL, &address);
    path = scratch_dir_path(f.root, "web-1/" NETWORKS_RECORD_FILE);
    assert_int_equal(access(path, F_OK), 0);
    networks_remove(f.networks, "web-1");
    networks_remove(f.networks, "web-1");
    networks_remove(f.networks, "never");
    assert_int_equal(access(path, F_OK), -1);
    assert_null(networks_find(f.networks, "web-1"));
    networks_fixture_restart(&f);
    assert_null(networks_find(f.networks, "web-1"));
}

static void test_a_record_that_cannot_be_written_is_not_taken(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    networks_fixture_init(&f);
    CLEANUP(network_record_done)
    struct network_record record = networks_fixture_record(&f, "web-1", NULL);
    CLEANUP_FREE char *dir = scratch_dir_path(f.root, "web-1");
    assert_int_equal(rmdir(dir), 0);
    expect_fail_with(networks_set(f.networks, &record, &fail), &fail, -ENOENT, "cannot write '");
    assert_string_equal(record.machine, "web-1");
    assert_null(networks_find(f.networks, "web-1"));
}

static void put_file(const struct networks_fixture *f, const char *machine, const char *text)
{
    struct network_record record = networks_fixture_record(f, machine, NULL);
    CLEANUP_FREE char *dir = scratch_dir_path(f->root, machine);

    scratch_dir_write(dir, NETWORKS_RECORD_FILE, text);
    network_record_done(&record);
}

static void test_damaged_files_are_passed_over(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FREE char *huge = alloc_zero(NETWORK_RECORD_BYTES_MAX + 2, 1);
    CLEANUP_FREE char *link = NULL, *directory = NULL;
    struct network_record empty = {};

    (void)state;
    networks_fixture_init(&f);
    memset(huge, '\n', NETWORK_RECORD_BYTES_MAX + 1);
    memcpy(huge, HEAD, strlen(HEAD));
    put_file(&f, "whole", HEAD "lease 10.187.0.2/30\n");
    put_file(&f, "cut", HEAD "lease 10.187.0");
    put_file(&f, "empty", "");
    put_file(&f, "other", "something else\n");
    put_file(&f, "huge", huge);
    empty = networks_fixture_record(&f, "link", NULL);
    link = scratch_dir_path(f.root, "link/" NETWORKS_RECORD_FILE);
    assert_int_equal(symlink("../whole/" NETWORKS_RECORD_FILE, link), 0);
    network_record_done(&empty);
    empty = networks_fixture_record(&f, "directory", NULL);
    directory = scratch_dir_path(f.root, "directory/" NETWORKS_RECORD_FILE);
    assert_int_equal(mkdir(directory, 0755), 0);
    network_record_done(&empty);
    scratch_dir_write(f.root, "file", "not a directory");

    static const char *const others[] = { "cut",  "empty",     "other", "huge",
                                          "link", "directory", "file" };
    assert_non_null(networks_find(f.networks, "whole"));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (networks_find(f.networks, others[i]) != NULL)
            fail_msg("'%s' was taken", others[i]);
}

/* --- ports ----------------------------------------------------------------------------------- */

/* Addresses of documentation: none of them is this host's, so that no program of it matters. */
static void test_ports_of_two_machines_overlap(void **state)
{
    static const struct {
        const char *first_host, *second_host;
        uint16_t first, second;
        bool is_free;
    } rows[] = {
        { "192.0.2.1", "192.0.2.1", 8080, 8080, false },
        { "192.0.2.1", "192.0.2.1", 8080, 8081, true },
        { "192.0.2.1", "192.0.2.2", 8080, 8080, true },
        { "192.0.2.1", "2001:db8::1", 8080, 8080, true },
        { "2001:db8::1", "2001:db8::1", 8080, 8080, false },
        { NULL, "192.0.2.1", 8080, 8080, false },
        { NULL, "2001:db8::1", 8080, 8080, false },
        { "192.0.2.1", NULL, 8080, 8080, false },
        { NULL, NULL, 8080, 8080, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP_FIXTURE struct networks_fixture f;
        CLEANUP_FAIL struct fail fail = {};
        networks_fixture_init(&f);
        struct network_record first = networks_fixture_record(&f, "web-1", NULL);
        networks_fixture_port(&first, rows[i].first_host, rows[i].first, 80);
        networks_fixture_set(&f, &first);
        CLEANUP(network_record_done)
        struct network_record second = networks_fixture_record(&f, "web-2", NULL);
        networks_fixture_port(&second, rows[i].second_host, rows[i].second, 80);
        int r = networks_check_ports(f.networks, &second, &fail);
        if (rows[i].is_free)
            assert_int_equal(r, 0);
        else
            expect_fail(r, &fail, -EADDRINUSE,
                        "port 8080 of the host (\"http\") is that of the machine 'web-1' already");
    }
}

/* A task that is started again has its own ports still. */
static void test_a_machines_own_ports_are_not_in_its_way(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    networks_fixture_init(&f);
    struct network_record set = networks_fixture_record(&f, "web-1", NULL);
    networks_fixture_port(&set, "192.0.2.1", 8080, 80);
    networks_fixture_set(&f, &set);
    networks_fixture_restart(&f);
    CLEANUP(network_record_done)
    struct network_record record = networks_fixture_record(&f, "web-1", NULL);
    networks_fixture_port(&record, "192.0.2.1", 8080, 81);
    assert_int_equal(networks_check_ports(f.networks, &record, &fail), 0);
}

static void test_a_port_of_a_program_is_taken(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(name);

    (void)state;
    networks_fixture_init(&f);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    unsigned port = ntohs(name.sin_port);
    CLEANUP(network_record_done)
    struct network_record record = networks_fixture_record(&f, "web-1", NULL);
    networks_fixture_port(&record, NULL, (uint16_t)port, 80);
    CLEANUP_FREE char *sentence = alloc_printf(
            "port %u of the host (\"http\") is taken by a program of the host (tcp); see 'ss -lnp', "
            "and stop that program or choose another port",
            port);
    expect_fail(networks_check_ports(f.networks, &record, &fail), &fail, -EADDRINUSE, sentence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_no_two_machines_have_one_address),
        FD_LEAK_TEST(test_a_lease_is_nobodys_until_a_record_holds_it),
        FD_LEAK_TEST(test_a_pool_that_is_used_up_is_told),
        FD_LEAK_TEST(test_the_hosts_addresses_are_the_first_of_the_block),
        FD_LEAK_TEST(test_zones_are_ours_as_long_as_one_machine_says_so),
        FD_LEAK_TEST(test_another_plugin_knows_what_was_set),
        FD_LEAK_TEST(test_a_record_replaces_the_machines_older_one),
        FD_LEAK_TEST(test_what_was_removed_is_not_there_for_another_plugin),
        FD_LEAK_TEST(test_a_record_that_cannot_be_written_is_not_taken),
        FD_LEAK_TEST(test_damaged_files_are_passed_over),
        FD_LEAK_TEST(test_ports_of_two_machines_overlap),
        FD_LEAK_TEST(test_a_machines_own_ports_are_not_in_its_way),
        FD_LEAK_TEST(test_a_port_of_a_program_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
