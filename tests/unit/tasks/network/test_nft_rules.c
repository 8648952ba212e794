/* The scripts are golden files; that nft takes them, and what they do, is seen in
 * test_nft_rules_live.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tasks/network/nft_rules.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct address parsed(const char *text)
{
    struct address address = {};

    assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static struct nft_port port_of(const char *host, uint16_t host_port, const char *to,
                               uint16_t to_port)
{
    struct nft_port port = {
        .machine = "web-1",
        .label = "http",
        .host_port = host_port,
        .to = parsed(to),
        .to_port = to_port,
    };

    if (host != NULL)
        port.host = parsed(host);
    return port;
}

static char *script_of(const struct nft_port *ports, size_t n_ports)
{
    return nft_rules_make(&(struct nft_rules){ .ports = ports, .n_ports = n_ports });
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;

    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        n++;
    }
    return n;
}

static void test_without_ports_and_pools_the_table_goes(void **state)
{
    CLEANUP_FREE char *text = nft_rules_make(&(struct nft_rules){});

    (void)state;
    golden_compare("nft_rules_none.txt", text);
    CLEANUP_FREE char *update = nft_rules_update(&(struct nft_rules){});
    assert_string_equal(text, update);
}

static void test_pools_alone_are_hidden(void **state)
{
    struct address pools[] = { parsed("10.187.0.0/16"), parsed("fd6e:7370:6177:6e00::/96") };
    CLEANUP_FREE char *text = nft_rules_make(&(struct nft_rules){ .pools = pools, .n_pools = 2 });

    (void)state;
    golden_compare("nft_rules_pools.txt", text);
}

static void fill(struct nft_port ports[10])
{
    ports[0] = port_of("192.0.2.1", 8080, "10.187.0.2/30", 80);
    ports[1] = port_of("127.0.0.1", 8080, "10.187.0.2/30", 80);
    ports[2] = port_of("2001:db8::1", 8080, "fd6e:7370:6177:6e00::abb:2/126", 80);
    ports[3] = port_of(NULL, 53, "10.187.0.6/30", 53);
    ports[4] = port_of(NULL, 53, "fd6e:7370:6177:6e00::abb:6/126", 53);
    ports[5] = port_of(NULL, 9000, "192.168.7.9/24", 9);
    ports[5].keeps_loopback = true;
    ports[6] = port_of(NULL, 443, "10.187.0.6/30", 8443);
    ports[7] = port_of("192.0.2.1", 443, "10.187.1.3/24", 8443);
    ports[8] = port_of("192.0.2.1", 444, "10.187.1.4/24", 8443);
    ports[9] = port_of(NULL, 9000, "fd6e::9/64", 9);
    ports[9].keeps_loopback = true;
}

static void test_many_ports(void **state)
{
    struct address pools[] = { parsed("10.187.0.0/16"), parsed("fd6e:7370:6177:6e00::/96") };
    struct nft_port ports[10];

    (void)state;
    fill(ports);
    CLEANUP_FREE char *text = nft_rules_make(
        &(struct nft_rules){ .ports = ports, .n_ports = 10, .pools = pools, .n_pools = 2 });
    golden_compare("nft_rules_ports.txt", text);
}

/* The table is emptied instead of removed; what it gets is the same. */
static void test_an_update_puts_the_same_into_the_table(void **state)
{
    struct nft_port ports[10];
    const struct nft_rules rules = { .ports = ports, .n_ports = 10 };

    (void)state;
    fill(ports);
    CLEANUP_FREE char *made = nft_rules_make(&rules);
    CLEANUP_FREE char *update = nft_rules_update(&rules);
    const char *made_body = strstr(made, "table inet nomad_nspawn {");
    char *update_body = strstr(update, "table inet nomad_nspawn {");
    assert_non_null(made_body);
    assert_non_null(update_body);
    assert_string_equal(made_body, update_body);
    *update_body = '\0';
    golden_compare("nft_rules_update.txt", update);
}

static void test_the_order_of_ports_changes_nothing(void **state)
{
    struct nft_port ports[10], other[10];

    (void)state;
    fill(ports);
    CLEANUP_FREE char *text = script_of(ports, 10);
    for (size_t first = 0; first < 10; first++) {
        for (size_t i = 0; i < 10; i++)
            other[i] = ports[(first + 3 * i) % 10];
        CLEANUP_FREE char *again = script_of(other, 10);
        assert_string_equal(text, again);
    }
}

/* nft would refuse the whole. */
static void test_of_two_with_one_key_one_counts(void **state)
{
    struct nft_port ports[] = {
        port_of(NULL, 80, "10.187.0.6/30", 80),
        port_of(NULL, 80, "10.187.0.2/30", 81),
        port_of("192.0.2.1", 80, "10.187.0.6/30", 80),
        port_of("192.0.2.1", 80, "10.187.0.6/30", 80),
        port_of("192.0.2.1", 80, "10.187.0.6/30", 79),
        port_of(NULL, 80, "fd6e::6/64", 80),
    };
    CLEANUP_FREE char *text = script_of(ports, N(ports));

    (void)state;
    assert_int_equal(count(text, "            tcp . 80 comment \"web-1 http\" : 10.187.0.2 . 81"),
                     1);
    assert_int_equal(count(text, "            tcp . 80 comment \"web-1 http\" : fd6e::6 . 80"), 1);
    assert_int_equal(count(text, "            tcp . 80 "), 2);
    assert_int_equal(count(text, "192.0.2.1 . tcp . 80 comment \"web-1 http\" : 10.187.0.6 . 79"),
                     1);
    assert_int_equal(count(text, "192.0.2.1 . udp . 80 "), 1);
    assert_int_equal(count(text, "192.0.2.1 . tcp . 80 "), 1);
}

static void test_networks_within_others_are_left_out(void **state)
{
    struct nft_port ports[] = {
        port_of(NULL, 1, "10.1.2.3/30", 1),    port_of(NULL, 2, "10.1.2.9/24", 1),
        port_of(NULL, 3, "10.1.2.7/32", 1),    port_of(NULL, 4, "10.1.3.1/24", 1),
        port_of(NULL, 5, "10.1.3.2/24", 1),    port_of(NULL, 6, "10.1.255.255/22", 1),
        port_of(NULL, 7, "fd00::ffff/112", 1), port_of(NULL, 8, "fd00::fffe/111", 1),
    };
    struct address pools[] = { parsed("10.2.0.7/16"), parsed("10.2.7.0/24"),
                               parsed("10.3.0.0/16") };
    CLEANUP_FREE char *text = nft_rules_make(&(struct nft_rules){
        .ports = ports, .n_ports = N(ports), .pools = pools, .n_pools = N(pools) });

    (void)state;
    assert_int_equal(count(text, "ct status dnat"), 1);
    assert_non_null(strstr(text,
                           "chain same_network {\n"
                           "        ip saddr 10.1.2.0/24 ip daddr 10.1.2.0/24 masquerade\n"
                           "        ip saddr 10.1.3.0/24 ip daddr 10.1.3.0/24 masquerade\n"
                           "        ip saddr 10.1.252.0/22 ip daddr 10.1.252.0/22 masquerade\n"
                           "        ip6 saddr fd00::/111 ip6 daddr fd00::/111 masquerade\n"
                           "    }\n"));
    assert_non_null(strstr(text, "chain out_of_pools {\n"
                                 "        ip daddr 10.2.0.0/16 return\n"
                                 "        ip daddr 10.3.0.0/16 return\n"
                                 "        fib "));
    assert_int_equal(count(text, "        ip saddr 10.2.0.0/16 masquerade\n"), 1);
    assert_int_equal(count(text, "        ip saddr 10.3.0.0/16 masquerade\n"), 1);
    assert_null(strstr(text, "10.2.7.0"));
    assert_int_equal(count(text, "            10.1.2.3,"), 1);
}

/* What is between the first element's quotation marks. */
static char *comment_of(const char *machine, const char *label)
{
    struct nft_port port = port_of("192.0.2.1", 80, "10.187.0.2/30", 80);

    port.machine = machine;
    port.label = label;
    CLEANUP_FREE char *text = script_of(&port, 1);
    const char *start = strstr(text, " comment \"");
    assert_non_null(start);
    start += strlen(" comment \"");
    const char *end = strstr(start, "\" : 10.187.0.2 . 80");
    assert_non_null(end);
    return alloc_strndup(start, (size_t)(end - start));
}

static void test_comments_cannot_end_what_they_are_in(void **state)
{
    static const struct {
        const char *machine, *label, *comment;
    } rows[] = {
        { "web-1", "http", "web-1 http" },
        { "a\"; }", "flush ruleset\n", "a?; } flush ruleset?" },
        { "\x01\t\x7f", "\xff\xc3", "??? \xef\xbf\xbd\xef\xbf\xbd" },
        { "\xc3\xa4", "\\", "\xc3\xa4 \\" },
        { NULL, NULL, " " },
    };

    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        CLEANUP_FREE char *comment = comment_of(rows[i].machine, rows[i].label);
        assert_string_equal(comment, rows[i].comment);
    }
}

static void test_long_comments_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t n = NFT_RULES_COMMENT_MAX - 8; n < NFT_RULES_COMMENT_MAX + 8; n++) {
        CLEANUP_FREE char *machine = alloc_zero(n + 1, 1);
        memset(machine, 'm', n);
        CLEANUP_FREE char *comment = comment_of(machine, "\xe2\x82\xac\xe2\x82\xac");
        assert_in_range(strlen(comment), NFT_RULES_COMMENT_MAX - 8, NFT_RULES_COMMENT_MAX);
        assert_true(utf8_is_valid(comment, strlen(comment)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_without_ports_and_pools_the_table_goes),
        FD_LEAK_TEST(test_pools_alone_are_hidden),
        FD_LEAK_TEST(test_many_ports),
        FD_LEAK_TEST(test_an_update_puts_the_same_into_the_table),
        FD_LEAK_TEST(test_the_order_of_ports_changes_nothing),
        FD_LEAK_TEST(test_of_two_with_one_key_one_counts),
        FD_LEAK_TEST(test_networks_within_others_are_left_out),
        FD_LEAK_TEST(test_comments_cannot_end_what_they_are_in),
        FD_LEAK_TEST(test_long_comments_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
