/* In namespaces of the test's own; `ip` makes what is looked at, and looks at what was made. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/rtnl.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network.h"

#define CLEANUP_RTNL CLEANUP(rtnl_closep)

static bool is_there;

static int make_network(void **state)
{
    (void)state;
    is_there = network_enter();
    if (is_there)
        network_run("ip netns add other\n"
                    "ip link add bridge0 type bridge\n"
                    "ip link add nn-one type veth peer host0 netns other\n"
                    "ip link add nn-two type veth peer host1 netns other\n"
                    "ip link set nn-two master bridge0\n"
                    "ip link set lo up\n");
    return 0;
}

/* Of the namespace that `ip netns` has under the name; NULL: our own. */
static struct rtnl *open_rtnl(const char *name)
{
    CLEANUP_FREE char *path = alloc_printf("/run/netns/%s", name != NULL ? name : "");
    CLEANUP_CLOSE int fd = name != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -EBADF;
    int r = 0;
    struct rtnl *rtnl = rtnl_open(fd, &r);

    assert_non_null(rtnl);
    return rtnl;
}

static struct address parsed(const char *text)
{
    struct address address = {};

    assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static unsigned index_of(struct rtnl *rtnl, const char *name)
{
    struct rtnl_link link;

    assert_int_equal(rtnl_find_link(rtnl, name, &link), 0);
    return link.index;
}

/* No link has it. */
#define NO_INDEX 4711

/* --- links ----------------------------------------------------------------------------------- */

static void test_links_are_found_by_name_and_by_index(void **state)
{
    struct rtnl_link link, again;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    assert_int_equal(rtnl_find_link(rtnl, "nn-two", &link), 0);
    assert_string_equal(link.name, "nn-two");
    assert_int_equal(rtnl_find_index(rtnl, link.index, &again), 0);
    assert_string_equal(again.name, "nn-two");
    assert_int_equal(link.master_index, index_of(rtnl, "bridge0"));
    assert_int_equal(rtnl_find_link(rtnl, "nn-*", &link), 0);
    assert_string_equal(link.name, "nn-one");
    assert_int_equal(link.master_index, 0);
    assert_int_equal(rtnl_find_link(rtnl, "lo", &link), 0);
    assert_true(link.is_up);
    assert_int_equal(link.peer_index, 0);
    assert_int_equal(rtnl_find_link(rtnl, "nn", &link), -ENODEV);
    assert_int_equal(rtnl_find_link(rtnl, "no*", &link), -ENODEV);
    assert_int_equal(rtnl_find_index(rtnl, NO_INDEX, &link), -ENODEV);
}

static void test_a_link_inside_leads_to_its_other_end(void **state)
{
    struct rtnl_link link, peer;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *inside = open_rtnl("other"), *host = open_rtnl(NULL);
    assert_int_equal(rtnl_find_link(inside, "host0", &link), 0);
    assert_int_equal(rtnl_find_link(host, "host0", &peer), -ENODEV);
    assert_int_equal(rtnl_find_index(host, link.peer_index, &peer), 0);
    assert_string_equal(peer.name, "nn-one");
}

static void test_bridges_and_their_ports_are_known(void **state)
{
    struct rtnl_link link;
    size_t n = 0;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    assert_int_equal(rtnl_find_link(rtnl, "bridge0", &link), 0);
    assert_true(link.is_bridge);
    assert_int_equal(rtnl_count_ports(rtnl, link.index, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(rtnl_find_link(rtnl, "nn-two", &link), 0);
    assert_false(link.is_bridge);
    assert_int_equal(rtnl_count_ports(rtnl, link.index, &n), 0);
    assert_int_equal(n, 0);
}

static void test_links_are_set_up_and_deleted(void **state)
{
    struct rtnl_link link;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    network_run("ip link add bridge1 type bridge\n");
    assert_int_equal(rtnl_find_link(rtnl, "bridge1", &link), 0);
    assert_false(link.is_up);
    assert_int_equal(rtnl_set_up(rtnl, link.index), 0);
    assert_int_equal(rtnl_find_index(rtnl, link.index, &link), 0);
    assert_true(link.is_up);
    assert_int_equal(rtnl_delete_link(rtnl, link.index), 0);
    assert_int_equal(rtnl_find_link(rtnl, "bridge1", &link), -ENODEV);
    assert_int_equal(rtnl_set_up(rtnl, NO_INDEX), -ENODEV);
    assert_int_equal(rtnl_delete_link(rtnl, NO_INDEX), -ENODEV);
}

static void test_what_comes_from_a_link_may_go_back(void **state)
{
    struct rtnl_link link;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    assert_int_equal(rtnl_find_link(rtnl, "nn-two", &link), 0);
    network_run("bridge -d link show dev nn-two | grep -q 'hairpin off'\n");
    assert_int_equal(rtnl_set_hairpin(rtnl, link.index), 0);
    network_run("bridge -d link show dev nn-two | grep -q 'hairpin on'\n");
    /* One that is in no bridge. */
    assert_true(rtnl_set_hairpin(rtnl, index_of(rtnl, "nn-one")) < 0);
    assert_int_equal(rtnl_set_hairpin(rtnl, NO_INDEX), -ENODEV);
}

/* --- addresses ------------------------------------------------------------------------------- */

static void test_addresses_are_added_and_deleted_twice_over(void **state)
{
    static const char *const texts[] = { "192.0.2.7/24", "2001:db8::7/64" };

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    unsigned index = index_of(rtnl, "nn-one");
    network_run("ip link set nn-one up; ip -n other link set host0 up\n");
    for (size_t i = 0; i < 2; i++) {
        struct address address = parsed(texts[i]);
        assert_int_equal(rtnl_add_address(rtnl, index, &address), 0);
        assert_int_equal(rtnl_add_address(rtnl, index, &address), 0);
    }
    /* No duplicates are looked for: it is good at once. */
    network_run("ip -o addr show dev nn-one | grep -q 'inet 192.0.2.7/24 '\n"
                "ip -o addr show dev nn-one | grep 'inet6 2001:db8::7/64 ' > /run/address\n"
                "! grep -q tentative /run/address\n");
    for (size_t i = 0; i < 2; i++) {
        struct address address = parsed(texts[i]);
        assert_int_equal(rtnl_delete_address(rtnl, index, &address), 0);
        assert_int_equal(rtnl_delete_address(rtnl, index, &address), 0);
        assert_int_equal(rtnl_add_address(rtnl, NO_INDEX, &address), -ENODEV);
    }
    network_run("[ -z \"$(ip -o addr show dev nn-one scope global)\" ]\n");
}

static bool is_listed(const struct rtnl_address *list, size_t n, unsigned index, const char *text)
{
    struct address address = parsed(text);

    for (size_t i = 0; i < n; i++)
        if (list[i].index == index && address_is_same(&list[i].address, &address) &&
            list[i].address.prefix == address.prefix)
            return true;
    return false;
}

static void test_addresses_good_beyond_one_link_are_listed(void **state)
{
    CLEANUP_FREE struct rtnl_address *list = NULL;
    size_t n;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl("other");
    network_run("ip -n other link set lo up\n"
                "ip -n other addr add 192.0.2.1/24 dev host0\n"
                "ip -n other addr add 192.0.2.9 peer 192.0.2.10 dev host1\n"
                "ip -n other addr add 2001:db8::1/64 dev host0 nodad\n"
                "ip -n other addr add fe80::77/64 dev host0 nodad\n"
                "ip -n other addr add 198.51.100.9/32 dev lo\n");
    assert_int_equal(rtnl_list_addresses(rtnl, &list, &n), 0);
    assert_int_equal(n, 4);
    assert_true(is_listed(list, n, index_of(rtnl, "host0"), "192.0.2.1/24"));
    assert_true(is_listed(list, n, index_of(rtnl, "host1"), "192.0.2.9/32"));
    assert_true(is_listed(list, n, index_of(rtnl, "host0"), "2001:db8::1/64"));
    assert_true(is_listed(list, n, index_of(rtnl, "lo"), "198.51.100.9/32"));
}

/* More than one message of the kernel's holds. */
static void test_many_addresses_are_listed(void **state)
{
    CLEANUP_FREE struct rtnl_address *list = NULL;
    size_t n;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    network_run("for i in $(seq 0 3); do for j in $(seq 1 250); do\n"
                "    echo addr add 10.9.$i.$j/32 dev nn-two\n"
                "done; done | ip -batch -\n");
    assert_int_equal(rtnl_list_addresses(rtnl, &list, &n), 0);
    assert_int_equal(n, 1000);
    assert_true(is_listed(list, n, index_of(rtnl, "nn-two"), "10.9.3.250/32"));
    network_run("ip addr flush dev nn-two\n");
}

/* --- routes ---------------------------------------------------------------------------------- */

static void test_routes_are_set_and_replaced(void **state)
{
    static const char *const gateways[] = { "203.0.113.1", "2001:db8:9::1" };
    static const char *const networks[] = { "10.8.7.6/24", "2001:db8:8::7/64" };

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl("other");
    unsigned index = index_of(rtnl, "host0");
    network_run("ip link set nn-one up; ip -n other link set host0 up\n");
    for (size_t i = 0; i < 4; i++) {
        struct address gateway = parsed(gateways[i % 2]), network = parsed(networks[i % 2]);
        assert_int_equal(rtnl_add_gateway(rtnl, index, &gateway), 0);
        assert_int_equal(rtnl_add_route(rtnl, index, &network), 0);
    }
    network_run("ip -n other route show | grep -q '^default via 203.0.113.1 dev host0 .*onlink'\n"
                "ip -n other -6 route show | grep -q '^default via 2001:db8:9::1 dev host0 '\n"
                "ip -n other route show | grep -q '^10.8.7.0/24 dev host0 .*scope link'\n"
                "ip -n other -6 route show | grep -q '^2001:db8:8::/64 dev host0 '\n"
                "[ $(ip -n other route show default | wc -l) = 1 ]\n");
    struct address gateway = parsed(gateways[0]);
    assert_int_equal(rtnl_add_gateway(rtnl, NO_INDEX, &gateway), -ENODEV);
}

static size_t count_advertised(struct rtnl *rtnl, unsigned expected)
{
    CLEANUP_FREE unsigned *indexes = NULL;
    size_t n = 77;

    assert_int_equal(rtnl_list_advertised(rtnl, &indexes, &n), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(indexes[i], expected);
    return n;
}

static void test_a_routers_route_is_told_from_an_administrators(void **state)
{
    struct rtnl_link link;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    network_run("ip link set nn-one up; ip -n other link set host0 up\n");
    assert_int_equal(rtnl_find_link(rtnl, "nn-one", &link), 0);
    assert_int_equal(count_advertised(rtnl, link.index), 0);
    network_run("ip -6 route add default via fe80::1 dev nn-one proto static\n"
                "ip -6 route add 2001:db8:7::/64 dev nn-one proto ra\n");
    assert_int_equal(count_advertised(rtnl, link.index), 0);
    network_run("ip -6 route add default via fe80::2 dev nn-one proto ra metric 9\n");
    assert_int_equal(count_advertised(rtnl, link.index), 1);
}

/* --- life ------------------------------------------------------------------------------------ */

static void test_a_refusal_is_not_taken_for_the_next_answer(void **state)
{
    struct rtnl_link link;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_RTNL struct rtnl *rtnl = open_rtnl(NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rtnl_set_up(rtnl, NO_INDEX), -ENODEV);
        assert_int_equal(rtnl_find_link(rtnl, "bridge0", &link), 0);
        assert_int_equal(rtnl_set_up(rtnl, link.index), 0);
    }
}

static void test_what_is_no_namespace_is_told(void **state)
{
    CLEANUP_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int r = 0;

    (void)state;
    assert_null(rtnl_open(fd, &r));
    assert_int_equal(r, -EINVAL);
    assert_null(rtnl_close(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_links_are_found_by_name_and_by_index),
        FD_LEAK_TEST(test_a_link_inside_leads_to_its_other_end),
        FD_LEAK_TEST(test_bridges_and_their_ports_are_known),
        FD_LEAK_TEST(test_links_are_set_up_and_deleted),
        FD_LEAK_TEST(test_what_comes_from_a_link_may_go_back),
        FD_LEAK_TEST(test_addresses_are_added_and_deleted_twice_over),
        FD_LEAK_TEST(test_addresses_good_beyond_one_link_are_listed),
        FD_LEAK_TEST(test_many_addresses_are_listed),
        FD_LEAK_TEST(test_routes_are_set_and_replaced),
        FD_LEAK_TEST(test_a_routers_route_is_told_from_an_administrators),
        FD_LEAK_TEST(test_a_refusal_is_not_taken_for_the_next_answer),
        FD_LEAK_TEST(test_what_is_no_namespace_is_told),
    };

    return cmocka_run_group_tests(tests, make_network, NULL);
}
