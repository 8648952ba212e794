#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/address.h"
#include "tests/support/fd_leak.h"

static struct address parsed(const char *text)
{
    struct address address = {};

    assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static void test_addresses_are_printed_as_they_were_written(void **state)
{
    static const char *const texts[] = {
        "192.0.2.7/24", "0.0.0.0/0", "255.255.255.255/32", "2001:db8::7/64", "::/0", "fe80::1/128",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct address address = parsed(texts[i]);
        CLEANUP_FREE char *text = address_cidr(&address);
        assert_string_equal(text, texts[i]);
    }
}

static void test_without_a_length_the_prefix_is_all(void **state)
{
    struct address four = parsed("192.0.2.7"), six = parsed("::1");
    CLEANUP_FREE char *text = address_text(&four);

    (void)state;
    assert_int_equal(four.prefix, 32);
    assert_int_equal(six.prefix, 128);
    assert_string_equal(text, "192.0.2.7");
}

static void test_what_is_no_address_is_refused(void **state)
{
    static const char *const texts[] = {
        "",       "/",          "192.0.2",     "192.0.2.7/",    "192.0.2.7/33",  "192.0.2.7/-1",
        "::/129", "192.0.2.7/ 8", "192.0.2.7/08", "192.0.2.256/8", "192.0.2.7/8/8", "g::1",
        "dhcp",   "::1%lo",     " 192.0.2.7",
    };
    struct address address = {};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(address_parse(texts[i], &address), -EINVAL);
    assert_false(address_is_set(&address));
}

static void test_an_address_is_in_its_network_only(void **state)
{
    struct address address = parsed("10.1.2.130/25"), none = {};
    static const struct {
        const char *network;
        bool is_in;
    } rows[] = {
        { "10.1.2.128/25", true }, { "10.1.2.255/25", true }, { "10.1.2.0/25", false },
        { "0.0.0.0/0", true },     { "10.1.2.130/32", true }, { "10.1.2.131/32", false },
        { "::/0", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct address network = parsed(rows[i].network);
        assert_int_equal(address_is_in(&address, &network), rows[i].is_in);
        assert_false(address_is_in(&none, &network));
    }
}

static void test_special_addresses_are_known(void **state)
{
    struct address loopback = parsed("127.8.9.1/8"), six = parsed("::1"), any = parsed("0.0.0.0");
    struct address link = parsed("fe80::1/64"), other = parsed("192.0.2.7/24"), any6 = parsed("::");

    (void)state;
    assert_true(address_is_loopback(&loopback));
    assert_true(address_is_loopback(&six));
    assert_false(address_is_loopback(&other));
    assert_true(address_is_unspecified(&any));
    assert_true(address_is_unspecified(&any6));
    assert_false(address_is_unspecified(&six));
    assert_true(address_is_link_local(&link));
    assert_false(address_is_link_local(&other));
    assert_true(address_is_same(&other, &(struct address){ AF_INET, 8, { 192, 0, 2, 7 } }));
    assert_false(address_is_same(&other, &any));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_addresses_are_printed_as_they_were_written),
        FD_LEAK_TEST(test_without_a_length_the_prefix_is_all),
        FD_LEAK_TEST(test_what_is_no_address_is_refused),
        FD_LEAK_TEST(test_an_address_is_in_its_network_only),
        FD_LEAK_TEST(test_special_addresses_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
