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
#include "tasks/network/network_record.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

#define HEAD "nomad-driver-nspawn network 1\n"

static const char whole[] = HEAD "link host0\n"
                                 "own-zone vz-web\n"
                                 "lease 10.187.0.2/24\n"
                                 "address 10.187.0.2/24\n"
                                 "address fd00::abb:2/120\n"
                                 "port * 8080 80 http\n"
                                 "port 192.0.2.1 53 53 dns of the house\n"
                                 "port 2001:db8::1 443 8443 https\n";

static void parse(const char *text, struct network_record *record)
{
    CLEANUP_FAIL struct fail fail = {};

    if (network_record_parse(text, record, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
}

static void test_what_was_written_is_read(void **state)
{
    CLEANUP(network_record_done) struct network_record record = {};

    (void)state;
    parse(whole, &record);
    assert_string_equal(record.link, "host0");
    assert_string_equal(record.share, "vz-web");
    assert_true(record.is_zone && record.is_owned);
    assert_int_equal(record.lease.prefix, 24);
    assert_int_equal(record.addresses[NETWORK_RECORD_IPV6].prefix, 120);
    assert_int_equal(record.n_ports, 3);
    assert_false(address_is_set(&record.ports[0].host));
    assert_string_equal(record.ports[1].label, "dns of the house");
    assert_int_equal(record.ports[2].host_port, 443);
    assert_int_equal(record.ports[2].port, 8443);
    CLEANUP_FREE char *text = network_record_format(&record);
    assert_string_equal(text, whole);
}

static void test_a_record_of_nothing_is_one(void **state)
{
    CLEANUP(network_record_done) struct network_record record = {}, again = {};
    CLEANUP_FREE char *text = network_record_format(&record);

    (void)state;
    assert_string_equal(text, HEAD);
    parse(text, &again);
    assert_memory_equal(&again, &record, sizeof(record));
}

static void test_lines_of_a_later_plugin_are_passed_over(void **state)
{
    CLEANUP(network_record_done) struct network_record record = {};

    (void)state;
    parse(HEAD "colour blue\nlink host0\n", &record);
    assert_string_equal(record.link, "host0");
}

static void test_damage_is_told_by_its_line(void **state)
{
    static const char *const lines[] = {
        "\n",           "link\n",         "link \n",         "link a\nlink b\n",
        "lease x\n",    "lease ::1/64\n", "lease 0.0.0.0/0\n", "address 1.2.3\n",
        "port *\n",     "port * 0 80 a\n", "port * 80 65536 a\n", "port x 80 80 a\n",
        "port * 80 80\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CLEANUP_FREE char *text = alloc_printf(HEAD "%saddress ::1/128\n", lines[i]);
        struct network_record record = {};
        CLEANUP_FAIL struct fail fail = {};
        expect_fail_with(network_record_parse(text, &record, &fail), &fail, -EINVAL, "damaged");
        assert_memory_equal(&record, &(struct network_record){}, sizeof(record));
    }
}

static void test_a_record_cut_at_any_byte_is_read_or_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(whole); n++) {
        CLEANUP_FREE char *text = alloc_strndup(whole, n);
        CLEANUP(network_record_done) struct network_record record = {};
        CLEANUP_FAIL struct fail fail = {};
        int r = network_record_parse(text, &record, &fail);
        assert_int_equal(r < 0, fail.message != NULL);
        assert_int_equal(n < strlen(HEAD) - 1 && r >= 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_was_written_is_read),
        FD_LEAK_TEST(test_a_record_of_nothing_is_one),
        FD_LEAK_TEST(test_lines_of_a_later_plugin_are_passed_over),
        FD_LEAK_TEST(test_damage_is_told_by_its_line),
        FD_LEAK_TEST(test_a_record_cut_at_any_byte_is_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
