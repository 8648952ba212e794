#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/network/address_pool.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

/* Two hundred containers' worth: links of their own, two zones and a bridge. */
#define N_LEASES 200

static const char *const networks[] = { NULL, NULL, "vz-a", "vz-b", "br0" };

static struct address parsed(const char *text)
{
    struct address address = {};

    assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static void assert_text(const struct address *address, const char *text)
{
    CLEANUP_FREE char *cidr = address_cidr(address);

    assert_string_equal(cidr, text);
}

static bool is_same_network(const struct address_lease *a, const struct address_lease *b)
{
    return a->network != NULL && b->network != NULL && strcmp(a->network, b->network) == 0;
}

/* No two with one address, none is the host's, and no block lies in another's. */
static void check_pair(const struct address_lease *a, const struct address_lease *b)
{
    struct address gateway = address_pool_gateway(&b->address);

    assert_false(address_is_same(&a->address, &b->address));
    assert_false(address_is_same(&a->address, &gateway));
    assert_int_equal(address_is_in(&a->address, &b->address), is_same_network(a, b));
}

static void check_every_pair(const struct address_lease *leases, size_t n,
                             const struct address *pool)
{
    for (size_t i = 0; i < n; i++) {
        if (!address_is_set(&leases[i].address))
            continue;
        assert_true(address_is_in(&leases[i].address, pool));
        for (size_t j = 0; j < n; j++)
            if (i != j && address_is_set(&leases[j].address))
                check_pair(&leases[i], &leases[j]);
    }
}

static void take(const struct address *pool, struct address_lease *leases, size_t n, size_t i,
                 const char *network)
{
    CLEANUP_FAIL struct fail fail = {};
    struct address address = {};

    leases[i] = (struct address_lease){};
    if (address_pool_take(pool, leases, n, network, &address, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
    leases[i] = (struct address_lease){ network, address };
}

static void test_no_two_of_200_containers_have_one_address_in_any_order(void **state)
{
    struct address_lease leases[N_LEASES] = {};
    struct address pool = parsed("10.187.0.0/16");

    (void)state;
    srandom(6);
    for (size_t i = 0; i < N_LEASES; i++)
        take(&pool, leases, N_LEASES, i, networks[i % 5]);
    check_every_pair(leases, N_LEASES, &pool);
    for (int round = 0; round < 2000; round++) {
        size_t i = (size_t)random() % N_LEASES;
        if (address_is_set(&leases[i].address))
            leases[i] = (struct address_lease){};
        else
            take(&pool, leases, N_LEASES, i, networks[random() % 5]);
        if (round % 50 == 0)
            check_every_pair(leases, N_LEASES, &pool);
    }
    check_every_pair(leases, N_LEASES, &pool);
}

static void test_all_that_is_given_back_is_given_again(void **state)
{
    struct address pool = parsed("10.0.0.0/24");
    struct address_lease leases[64] = {};

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 64; i++)
            take(&pool, leases, 64, i, NULL);
        check_every_pair(leases, 64, &pool);
        for (size_t i = 0; i < 64; i++)
            leases[i] = (struct address_lease){};
    }
}

static void test_a_pool_that_is_full_says_so(void **state)
{
    struct address pool = parsed("10.0.0.0/24"), address = {};
    struct address_lease leases[65] = {};
    CLEANUP_FAIL struct fail fail = {}, shared = {};

    (void)state;
    for (size_t i = 0; i < 64; i++)
        take(&pool, leases, 65, i, NULL);
    int r = address_pool_take(&pool, leases, 65, NULL, &address, &fail);
    assert_true(fail.recoverable);
    expect_fail(r, &fail, -ENOSPC,
                "no address is free in the agent's network_pool 10.0.0.0/24; stop other "
                "containers, or give the plugin a larger pool");
    assert_int_equal(address_pool_take(&pool, leases, 65, "vz-a", &address, &shared), -ENOSPC);
    assert_false(address_is_set(&address));
    leases[20] = (struct address_lease){};
    take(&pool, leases, 65, 64, NULL);
    assert_text(&leases[64].address, "10.0.0.82/30");
}

static void test_a_zone_that_is_full_says_so(void **state)
{
    struct address pool = parsed("10.0.0.0/16"), address = {};
    struct address_lease leases[254] = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    for (size_t i = 0; i < 253; i++)
        take(&pool, leases, 254, i, "vz-a");
    check_every_pair(leases, 254, &pool);
    expect_fail(address_pool_take(&pool, leases, 254, "vz-a", &address, &fail), &fail, -ENOSPC,
                "no address is free for 'vz-a': all of its 253 are taken; stop other containers of "
                "it, or use another one");
    take(&pool, leases, 254, 253, "vz-b");
    assert_text(&leases[253].address, "10.0.1.2/24");
}

static void test_blocks_of_another_pool_are_in_nobody_s_way(void **state)
{
    struct address old = parsed("10.0.0.0/16"), pool = parsed("255.255.255.0/24");
    struct address_lease leases[66] = {};

    (void)state;
    take(&old, leases, 66, 0, NULL);
    take(&old, leases, 66, 1, "vz-a");
    for (size_t i = 2; i < 66; i++)
        take(&pool, leases, 66, i, NULL);
    assert_text(&leases[65].address, "255.255.255.254/30");
    /* A zone keeps its block as long as somebody is in it. */
    leases[65] = (struct address_lease){};
    take(&pool, leases, 66, 65, "vz-a");
    assert_text(&leases[65].address, "10.0.1.3/24");
}

static void test_the_host_is_first_and_ipv6_follows(void **state)
{
    struct address own = parsed("10.187.4.22/30"), shared = parsed("10.187.4.22/24");
    struct address pool6 = parsed("fd00:1:2:3::/64");
    struct address gateway = address_pool_gateway(&own), zone = address_pool_gateway(&shared);
    struct address six = address_pool_address6(&pool6, &own);

    (void)state;
    assert_text(&gateway, "10.187.4.21/30");
    assert_text(&zone, "10.187.4.1/24");
    assert_text(&six, "fd00:1:2:3::abb:416/126");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_no_two_of_200_containers_have_one_address_in_any_order),
        FD_LEAK_TEST(test_all_that_is_given_back_is_given_again),
        FD_LEAK_TEST(test_a_pool_that_is_full_says_so),
        FD_LEAK_TEST(test_a_zone_that_is_full_says_so),
        FD_LEAK_TEST(test_blocks_of_another_pool_are_in_nobody_s_way),
        FD_LEAK_TEST(test_the_host_is_first_and_ipv6_follows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
