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

#include "reactor/cleanup.h"
#include "tasks/systemd/unit_properties.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/bus_text.h"

static char *text_of(const struct unit_properties *properties)
{
    CLEANUP(sd_bus_close_unrefp) sd_bus *bus = bus_text_connection();
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;

    assert_int_equal(sd_bus_message_new_method_call(bus, &message, "a.b", "/", "a.b", "Set"), 0);
    assert_true(unit_properties_append(properties, message) >= 0);
    return bus_text(message);
}

static void expect_text(const struct unit_properties *properties, const char *expected)
{
    CLEANUP_FREE char *text = text_of(properties);

    assert_string_equal(text, expected);
}

static void test_none_is_an_empty_list(void **state)
{
    const struct unit_properties none = {};

    (void)state;
    expect_text(&none, "Set([])\n");
}

static void test_each_type_is_written_as_systemd_takes_it(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties properties = {};
    CLEANUP(strv_done) struct strv strings = {};

    (void)state;
    strv_push(&strings, "/bin/a");
    strv_push(&strings, "$b");
    unit_properties_add_bool(&properties, "Delegate", true);
    unit_properties_add_bool(&properties, "DynamicUser", false);
    unit_properties_add_u64(&properties, "MemoryMax", UINT64_MAX);
    unit_properties_add_string(&properties, "Slice", "a.slice");
    unit_properties_add_strings(&properties, "Environment", &strings);
    unit_properties_add_bytes(&properties, "AllowedCPUs", (const uint8_t[]){ 1, 255 }, 2);
    unit_properties_add_exec(&properties, &strings);
    unit_properties_add_listen(&properties, &strings);
    expect_text(&properties, "Set([\n"
                             "  (\"Delegate\", b true),\n"
                             "  (\"DynamicUser\", b false),\n"
                             "  (\"MemoryMax\", t 18446744073709551615),\n"
                             "  (\"Slice\", s \"a.slice\"),\n"
                             "  (\"Environment\", as [\"/bin/a\", \"$b\"]),\n"
                             "  (\"AllowedCPUs\", ay [0x01, 0xff]),\n"
                             "  (\"ExecStartEx\", a(sasas) [\n"
                             "    (\"/bin/a\", [\"/bin/a\", \"$b\"], [\"no-env-expand\"]),\n"
                             "  ]),\n"
                             "  (\"Listen\", a(ss) [\n"
                             "    (\"Stream\", \"/bin/a\"),\n"
                             "    (\"Stream\", \"$b\"),\n"
                             "  ]),\n"
                             "])\n");
}

static void test_descriptor_is_a_duplicate(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties properties = {};
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(unit_properties_add_fd(&properties, "StandardOutputFileDescriptor", fd), 0);
    (void)close(fd);
    expect_text(&properties, "Set([\n  (\"StandardOutputFileDescriptor\", h </dev/null>),\n])\n");
    assert_int_equal(unit_properties_add_fd(&properties, "StandardErrorFileDescriptor", 999),
                     -EBADF);
    assert_int_equal(properties.n_items, 1);
}

static void test_values_are_copies(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties properties = {};
    char slice[] = "a.slice";

    (void)state;
    unit_properties_add_string(&properties, "Slice", slice);
    memset(slice, 'X', sizeof(slice) - 1);
    expect_text(&properties, "Set([\n  (\"Slice\", s \"a.slice\"),\n])\n");
}

static void test_what_is_taken_comes_last_and_is_gone_there(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties to = {}, from = {};

    (void)state;
    unit_properties_add_string(&to, "Slice", "a.slice");
    unit_properties_add_string(&from, "Type", "simple");
    unit_properties_add_u64(&from, "CPUWeight", 4);
    unit_properties_take(&to, &from);
    expect_text(&from, "Set([])\n");
    unit_properties_take(&to, &from);
    expect_text(&to, "Set([\n"
                     "  (\"Slice\", s \"a.slice\"),\n"
                     "  (\"Type\", s \"simple\"),\n"
                     "  (\"CPUWeight\", t 4),\n"
                     "])\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_none_is_an_empty_list),
        FD_LEAK_TEST(test_each_type_is_written_as_systemd_takes_it),
        FD_LEAK_TEST(test_descriptor_is_a_duplicate),
        FD_LEAK_TEST(test_values_are_copies),
        FD_LEAK_TEST(test_what_is_taken_comes_last_and_is_gone_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
