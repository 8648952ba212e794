/* The table of networks: each row makes sense, and what options choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/network_kind.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/pack.h"

#define KINDS(kind) (enum network_kind kind = 0; kind < NETWORK_KIND_MAX; kind++)

static struct task_options decode(const char *json)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    struct task_options options = {};

    assert_int_equal(task_options_decode(&options, packed.bytes, packed.n_bytes, NULL), 0);
    return options;
}

static void expect_text(char *text, const char *expected)
{
    CLEANUP_FREE char *owned = text;

    if (expected == NULL)
        assert_null(owned);
    else
        assert_string_equal(owned, expected);
}

static void test_what_each_kind_is_called(void **state)
{
    static const struct {
        const char *options;
        enum network_kind kind;
        const char *argument, *link, *bridge;
    } rows[] = {
        { "", NETWORK_HOST, NULL, NULL, NULL },
        { ", 'network_veth': false", NETWORK_HOST, NULL, NULL, NULL },
        { ", 'network_veth': true", NETWORK_VETH, "--network-veth", "host0", NULL },
        { ", 'network_zone': 'a'", NETWORK_ZONE, "--network-zone=a", "host0", "vz-a" },
        { ", 'network_bridge': 'b'", NETWORK_BRIDGE, "--network-bridge=b", "host0", "b" },
        { ", 'network_macvlan': 'c'", NETWORK_MACVLAN, "--network-macvlan=c", "mv-*", NULL },
        { ", 'network_ipvlan': 'd'", NETWORK_IPVLAN, "--network-ipvlan=d", "iv-*", NULL },
        { ", 'network_interface': '%s'", NETWORK_INTERFACE, "--network-interface=%s", "%s", NULL },
        { ", 'private_network': true", NETWORK_PRIVATE, "--private-network", NULL, NULL },
        { ", 'private_network': false", NETWORK_HOST, NULL, NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP_FREE char *json = alloc_printf("{'image': 'x'%s}", rows[i].options);
        CLEANUP(task_options_done) struct task_options options = decode(json);
        enum network_kind kind = network_kind_of(&options);

        assert_int_equal(kind, rows[i].kind);
        expect_text(network_kind_argument(kind, &options), rows[i].argument);
        expect_text(network_kind_link(kind, &options), rows[i].link);
        expect_text(network_kind_bridge(kind, &options), rows[i].bridge);
        for
            KINDS(other)
        assert_int_equal(network_kind_is_chosen(other, &options),
                         other == kind && kind != NETWORK_HOST);
    }
}

/* Where the job says nothing else, network_veth is true by default. */
static void test_a_veth_is_the_last_to_be_chosen(void **state)
{
    static const char *const others[] = { "'network_zone': 'a'",      "'network_bridge': 'a'",
                                          "'network_macvlan': 'a'",   "'network_ipvlan': 'a'",
                                          "'network_interface': 'a'", "'private_network': true" };

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CLEANUP_FREE char *json = alloc_printf("{'image': 'x', 'network_veth': true, %s}",
                                               others[i]);
        CLEANUP(task_options_done) struct task_options options = decode(json);
        assert_int_not_equal(network_kind_of(&options), NETWORK_VETH);
        assert_true(network_kind_is_chosen(NETWORK_VETH, &options));
    }
}

/* What others rely on, of rows that do not exist yet, too. */
static void test_each_row_makes_sense(void **state)
{
    size_t n_options = 0;

    (void)state;
    for
        KINDS(kind)
        {
            const struct network_kind_row *row = &network_kinds[kind];
            bool has_link = row->owner == NETWORK_OWNER_DRIVER || row->owner == NETWORK_OWNER_LAN;

            assert_int_equal(row->link != NULL, has_link);
            assert_int_equal(row->reach != NETWORK_REACH_ELSEWHERE, has_link);
            assert_int_equal(row->owner == NETWORK_OWNER_DRIVER,
                             row->bridge != NULL || row->is_pair);
            assert_false(row->is_pair && row->bridge != NULL);
            assert_false(row->makes_bridge && row->bridge == NULL);
            if (row->option == NULL)
                continue;
            const struct option_row *option = option_find(task_option_rows, row->option,
                                                          strlen(row->option));
            assert_non_null(option);
            assert_non_null(option->argument);
            assert_int_equal(option->type == OPTION_TYPE_STRING, row->name_bytes_max > 0);
            n_options++;
        }
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++)
        n_options -= network_kind_has_option(option);
    assert_int_equal(n_options, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_each_kind_is_called),
        FD_LEAK_TEST(test_a_veth_is_the_last_to_be_chosen),
        FD_LEAK_TEST(test_each_row_makes_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
