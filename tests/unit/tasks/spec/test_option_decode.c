#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/option_decode.h"
#include "tasks/spec/packed.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/option_tables.h"
#include "tests/support/tasks/spec/pack.h"

/* --- every row, every kind of value ---------------------------------------------------------- */

#define ACCEPTED(type) (1U << OPTION_TYPE_##type)

static const struct {
    const char *json;
    unsigned accepted;
    bool is_nothing; /* taken, and then the option is as if it was not written */
} values[] = {
    { "true", ACCEPTED(BOOL) | ACCEPTED(TRISTATE), false },
    { "false", ACCEPTED(BOOL) | ACCEPTED(TRISTATE), false },
    { "7", 0, false },
    { "-7", 0, false },
    { "0.5", 0, false },
    { "'text'", ACCEPTED(STRING), false },
    { "['a', 'b']", ACCEPTED(STRING_LIST), false },
    { "['a', 7]", 0, false },
    { "['a', null]", 0, false },
    { "[7]", 0, false },
    { "[[]]", 0, false },
    { "{'k': 'v'}", ACCEPTED(STRING_MAP), false },
    { "[{'k': 'v'}]", ACCEPTED(STRING_MAP), false },
    { "[{'k': '8'}, {'l': '9'}]", ACCEPTED(STRING_MAP) | ACCEPTED(NUMBER_MAP), false },
    { "[{'k': 8}]", ACCEPTED(NUMBER_MAP), false },
    { "{'k': 8.0}", ACCEPTED(NUMBER_MAP), false },
    { "{'k': 8.5}", 0, false },
    { "{'k': true}", 0, false },
    { "{'k': []}", 0, false },
    { "{7: 'v'}", 0, false },
    { "[{'k': 'v'}, 'x']", 0, false },
    { "{'url': 'http://x'}", ACCEPTED(BLOCK) | ACCEPTED(STRING_MAP), false },
    { "[]", ACCEPTED(STRING_LIST) | ACCEPTED(STRING_MAP) | ACCEPTED(NUMBER_MAP), true },
    { "[{}, null]", ACCEPTED(STRING_MAP) | ACCEPTED(NUMBER_MAP), true },
    { "{}", ACCEPTED(STRING_MAP) | ACCEPTED(NUMBER_MAP), true },
    { "{'k': null}", ACCEPTED(STRING_MAP) | ACCEPTED(NUMBER_MAP), true },
    { "''", ACCEPTED(STRING), true },
    { "null", ~0U, true },
};

/* "'image': 'x', " unless that is the very option. */
static char *entry_with_required(const struct option_table *table, const struct option_row *option,
                                 const char *value)
{
    if (option->required || *table->required == '\0')
        return alloc_printf("{'%s': %s}", option->key, value);
    return alloc_printf("{%s, '%s': %s}", table->required, option->key, value);
}

/* What a field holds without being written. */
static bool is_default(const struct option_row *option, void *base)
{
    if (option->type != OPTION_TYPE_STRING || option->schema_default == NULL)
        return !option_is_set(option, base);
    size_t n = strlen(option->schema_default);
    const char *value = *option_string(option, base);
    return value != NULL && strlen(value) == n - 2 &&
           memcmp(value, option->schema_default + 1, n - 2) == 0;
}

static void expect_defaults(const struct option_table *table, void *base)
{
    for (const struct option_row *option = table->options; option->key != NULL; option++)
        if (!is_default(option, base))
            fail_msg("%s: '%s' is left behind", table->name, option->key);
}

static void check_value(const struct option_table *table, const struct option_row *option, size_t v)
{
    CLEANUP_FREE char *json = entry_with_required(table, option, values[v].json);
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP_FREE char *base = alloc_zero(1, table->struct_size);
    CLEANUP_FREE char *name = alloc_printf("option '%s'", option->key);
    CLEANUP_FAIL struct fail fail = {};
    bool accepted = values[v].accepted & 1U << option->type &&
                    !(option->required && values[v].is_nothing);

    int r = option_decode(table->options, base, packed.bytes, packed.n_bytes, &fail);
    if (!accepted) {
        if (r != -EINVAL || strstr(fail_text(&fail), name) == NULL)
            fail_msg("%s: %s", json, r < 0 ? fail_text(&fail) : "accepted");
        expect_defaults(table, base);
    } else if (r < 0) {
        fail_msg("%s: %s", json, fail_text(&fail));
    } else if (option->type != OPTION_TYPE_BOOL && is_default(option, base) != values[v].is_nothing) {
        fail_msg("%s: does not count", json);
    }
    options_done(table->options, base);
}

static void test_every_row_takes_its_own_kind_and_refuses_others_by_name(void **state)
{
    (void)state;
    for (const struct option_table *table = option_tables(); table->options != NULL; table++)
        for (const struct option_row *option = table->options; option->key != NULL; option++)
            for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
                check_value(table, option, v);
}

/* --- what is said ---------------------------------------------------------------------------- */

static void expect_refused(const char *json, int error, const char *text)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP_FAIL struct fail fail = {};
    struct task_options config = {};

    expect_fail(task_options_decode(&config, packed.bytes, packed.n_bytes, &fail), &fail, error,
                text);
    task_options_done(&config);
}

static void expect_bytes_refused(const void *bytes, size_t n_bytes, int error, const char *text)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE uint8_t *copy = alloc_memdup(bytes, n_bytes);
    struct task_options config = {};

    expect_fail(task_options_decode(&config, copy, n_bytes, &fail), &fail, error, text);
    task_options_done(&config);
}

#define EXPECT_BYTES_REFUSED(literal, error, text) \
    expect_bytes_refused((literal), sizeof(literal) - 1, (error), (text))

static void test_wrong_kind_is_told_with_what_is_there(void **state)
{
    (void)state;
    expect_refused("{'boot': 'yes'}", -EINVAL, "option 'boot': expected a bool, got a string");
    expect_refused("{'image': 7}", -EINVAL, "option 'image': expected a string, got a number");
    expect_refused("{'command': 'ls'}", -EINVAL,
                   "option 'command': expected a list of strings, got a string");
    expect_refused("{'command': ['ls', true]}", -EINVAL,
                   "option 'command': expected a list of strings, got a bool");
    expect_refused("{'bind': ['/a']}", -EINVAL, "option 'bind': expected a map, got a string");
    expect_refused("{'bind': [{'/a': null, '/b': 7}]}", -EINVAL,
                   "option 'bind': expected strings as values, got a number");
    expect_refused("{'bind': [{7: '/a'}]}", -EINVAL,
                   "option 'bind': expected strings as keys, got a number");
    expect_refused("{'port_map': [{'http': 'many'}]}", -EINVAL,
                   "option 'port_map': expected whole numbers as values, got a string");
    expect_refused("{'image_download': ['x']}", -EINVAL,
                   "option 'image_download': expected a block, got a list");
    expect_refused("{'image_download': {'force': 'no'}}", -EINVAL,
                   "option 'image_download': option 'force': expected a bool, got a string");
    expect_refused("{'image_download': {}}", -EINVAL,
                   "option 'image_download': option 'url' is missing: Where the image is.");
    expect_refused("['image']", -EINVAL, "expected options by name, got a list");
    expect_refused("'image'", -EINVAL, "expected options by name, got a string");
    expect_refused("{7: 'image'}", -EINVAL, "expected options by name, got a number");
}

static void test_unknown_option_is_refused_by_name(void **state)
{
    (void)state;
    expect_refused("{'imago': 'x'}", -EINVAL,
                   "unknown option 'imago'; remove it or correct its name");
    expect_refused("{'': 'x'}", -EINVAL, "unknown option ''; remove it or correct its name");
    expect_refused("{'image_download': {'uri': 'x'}}", -EINVAL,
                   "option 'image_download': unknown option 'uri'; remove it or correct its name");
    EXPECT_BYTES_REFUSED("\x81\xa4" "a\n\x7f\xff\x01", -EINVAL,
                         "unknown option 'a??\xef\xbf\xbd'; remove it or correct its name");
    expect_refused("{'0123456789012345678901234567890123456789012345678901234567890123XYZ': 1}",
                   -EINVAL,
                   "unknown option "
                   "'0123456789012345678901234567890123456789012345678901234567890123'; remove it "
                   "or correct its name");
}

static void test_what_is_there_twice_is_refused(void **state)
{
    (void)state;
    expect_refused("{'image': 'a', 'image': 'b'}", -EINVAL,
                   "option 'image' is there twice; remove one");
    expect_refused("{'image': null, 'image': 'b'}", -EINVAL,
                   "option 'image' is there twice; remove one");
    expect_refused("{'bind': [{'/a': '/x', '/a': '/y'}]}", -EINVAL,
                   "option 'bind': '/a' is there twice; remove one");
}

static void test_missing_option_is_told_with_its_meaning(void **state)
{
    CLEANUP_FREE char *text = alloc_printf("option 'image' is missing: %s",
                                           option_find(task_option_rows, "image", 5)->help);

    (void)state;
    expect_refused("{}", -EINVAL, text);
    expect_refused("null", -EINVAL, text);
    expect_refused("{'boot': true}", -EINVAL, text);
    expect_refused("{'image': ''}", -EINVAL, text);
    EXPECT_BYTES_REFUSED("", -EINVAL, text);
}

/* --- text ------------------------------------------------------------------------------------ */

/* {"image": "x", KEY: VALUE}, KEY being a string option or a list with one item. */
static int decode_text(const char *key, bool is_list, const char *text, size_t n_bytes,
                       struct fail *fail)
{
    struct task_options config = {};
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2);
    msgpack_pack_str_with_body(&packer, "image", 5);
    msgpack_pack_str_with_body(&packer, "x", 1);
    msgpack_pack_str_with_body(&packer, key, strlen(key));
    if (is_list)
        msgpack_pack_array(&packer, 1);
    msgpack_pack_str_with_body(&packer, text, n_bytes);
    int r = task_options_decode(&config, (const uint8_t *)buffer.data, buffer.size, fail);
    msgpack_sbuffer_destroy(&buffer);
    task_options_done(&config);
    return r;
}

static void test_control_characters_are_refused_but_those_of_several_lines(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        CLEANUP_FAIL struct fail fail = {};
        char text[] = { 'a', (char)c, 'b' };
        bool is_control = c < 0x20 || c == 0x7f, is_line = c == '\n' || c == '\t';
        CLEANUP_FREE char *message = alloc_printf(
                c >= 0x80 ? "option '%s': text that is not UTF-8; remove the odd bytes"
                          : "option '%s': the control character 0x%02x in the text; remove it",
                "command", c);

        int r = decode_text("command", true, text, sizeof(text), &fail);
        if ((is_control && !is_line) || c >= 0x80)
            expect_fail(r, &fail, -EINVAL, message);
        else
            assert_int_equal(r, 0);
        r = decode_text("hostname", false, text, sizeof(text), &fail);
        assert_int_equal(r, is_control || c >= 0x80 ? -EINVAL : 0);
    }
}

static void test_text_as_bytes_is_text(void **state)
{
    /* bin, as Go's encoder writes []byte */
    static const char bytes[] = "\x81\xc4\x05image\xc4\x06" "debian";
    struct task_options config = {};

    (void)state;
    assert_int_equal(task_options_decode(&config, (const uint8_t *)bytes, sizeof(bytes) - 1, NULL),
                     0);
    assert_string_equal(config.image, "debian");
    task_options_done(&config);
}

/* --- numbers --------------------------------------------------------------------------------- */

static void expect_port(const char *json, const char *expected)
{
    CLEANUP_FREE char *text = alloc_printf("{'image': 'x', 'port_map': [{'p': %s}]}", json);
    CLEANUP(packed_done) struct packed packed = pack(text);
    CLEANUP_FAIL struct fail fail = {};
    struct task_options config = {};

    int r = task_options_decode(&config, packed.bytes, packed.n_bytes, &fail);
    if (expected == NULL) {
        if (r != -EINVAL)
            fail_msg("%s: accepted", json);
        expect_fail_with(r, &fail, -EINVAL, "option 'port_map': expected whole numbers as values");
    } else {
        assert_int_equal(r, 0);
        assert_string_equal(pairs_get(&config.port_map, "p"), expected);
    }
    task_options_done(&config);
}

static void test_whole_numbers_come_in_many_forms(void **state)
{
    static const char *const wrong[] = {
        "0.5",   "1.0e30", "-1.0e19", "9223372036854775808.0", "''",   "' 8'",  "'8 '",
        "'+8'",  "'0x8'",  "'8.0'",   "'9223372036854775808'", "'-'",  "'--8'", "'8-8'",
        "'1e3'", "'000000000000000000000008'",
    };

    (void)state;
    expect_port("8080", "8080");
    expect_port("-1", "-1");
    expect_port("8080.0", "8080");
    expect_port("-0.0", "0");
    expect_port("'8080'", "8080");
    expect_port("'-9223372036854775808'", "-9223372036854775808");
    expect_port("'9223372036854775807'", "9223372036854775807");
    expect_port("-9223372036854775808", "-9223372036854775808");
    expect_port("-9223372036854775808.0", NULL);
    expect_port("4503599627370497.0", "4503599627370497");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_port(wrong[i], NULL);
}

static void test_numbers_that_are_none_are_refused(void **state)
{
#define HEAD "\x82\xa5image\xa1x\xa8port_map\x81\xa1p"
    static const char text[] = "option 'port_map': expected whole numbers as values, got a number";

    (void)state;
    EXPECT_BYTES_REFUSED(HEAD "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", -EINVAL, text);
    EXPECT_BYTES_REFUSED(HEAD "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", -EINVAL, text);
    EXPECT_BYTES_REFUSED(HEAD "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", -EINVAL, text); /* NaN */
    EXPECT_BYTES_REFUSED(HEAD "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", -EINVAL, text); /* infinity */
    EXPECT_BYTES_REFUSED(HEAD "\xca\xff\x80\x00\x00", -EINVAL, text);
#undef HEAD
}

/* --- values ---------------------------------------------------------------------------------- */

static const char whole_config[] =
        "{'image': 'debian', 'boot': false, 'process_two': true, 'ephemeral': true,"
        " 'command': ['/bin/sh', '-c', 'true\n'], 'environment': [{'A': '1'}, {'B': '', 'A': '2'}],"
        " 'bind': {'/a': '/b'}, 'capability': ['CAP_CHOWN'], 'port_map': [{'http': 8080}],"
        " 'image_download': {'url': 'http://x', 'force': true}, 'hostname': 'h', 'volatile': 'no'}";

static void test_values_arrive(void **state)
{
    CLEANUP(packed_done) struct packed packed = pack(whole_config);
    struct task_options config = {};

    (void)state;
    assert_int_equal(task_options_decode(&config, packed.bytes, packed.n_bytes, NULL), 0);
    assert_string_equal(config.image, "debian");
    assert_int_equal(config.boot, TRISTATE_NO);
    assert_int_equal(config.process_two, TRISTATE_YES);
    assert_int_equal(config.read_only, TRISTATE_UNSET);
    assert_int_equal(config.command.n_items, 3);
    assert_string_equal(config.command.items[2], "true\n");
    assert_string_equal(pairs_get(&config.bind, "/a"), "/b");
    assert_string_equal(pairs_get(&config.port_map, "http"), "8080");
    assert_string_equal(config.image_download->url, "http://x");
    assert_string_equal(config.image_download->type, "tar");
    assert_string_equal(config.image_download->verify, "no");
    assert_true(config.image_download->force);
    assert_string_equal(config.volatile_mode, "no");
    task_options_done(&config);
}

static void test_later_map_of_a_list_wins(void **state)
{
    CLEANUP(packed_done) struct packed packed = pack(whole_config);
    struct task_options config = {};

    (void)state;
    assert_int_equal(task_options_decode(&config, packed.bytes, packed.n_bytes, NULL), 0);
    assert_int_equal(config.environment.n_items, 2);
    assert_string_equal(pairs_get(&config.environment, "A"), "2");
    assert_string_equal(pairs_get(&config.environment, "B"), "");
    task_options_done(&config);
}

static void test_plugin_config_has_its_defaults_also_after_an_error(void **state)
{
    CLEANUP(packed_done) struct packed packed = pack("{'volumes': false}"),
                                       wrong = pack("{'volumes': false, 'enabled': 7}");
    struct plugin_config config = {};

    (void)state;
    assert_int_equal(plugin_options_decode(&config, NULL, 0, NULL), 0);
    assert_true(config.enabled && config.volumes);
    plugin_options_done(&config);
    assert_int_equal(plugin_options_decode(&config, packed.bytes, packed.n_bytes, NULL), 0);
    assert_true(config.enabled && !config.volumes);
    plugin_options_done(&config);
    assert_int_equal(plugin_options_decode(&config, wrong.bytes, wrong.n_bytes, NULL), -EINVAL);
    assert_true(config.enabled && config.volumes);
    assert_int_equal(config.pool.prefix, 16);
    plugin_options_done(&config);
}

static void refuse_pool(const char *json, const char *sentence)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP(plugin_options_done) struct plugin_config config = {};
    CLEANUP_FAIL struct fail fail = {};

    expect_fail(plugin_options_decode(&config, packed.bytes, packed.n_bytes, &fail), &fail, -EINVAL,
                sentence);
    assert_string_equal(config.network_pool, "10.187.0.0/16");
    assert_int_equal(config.pool6.prefix, 96);
}

static void test_pools_are_networks(void **state)
{
    CLEANUP(packed_done) struct packed packed =
            pack("{'network_pool': '192.168.0.0/20', 'network_pool6': 'off'}");
    CLEANUP(plugin_options_done) struct plugin_config config = {};

    (void)state;
    assert_int_equal(plugin_options_decode(&config, packed.bytes, packed.n_bytes, NULL), 0);
    assert_int_equal(config.pool.prefix, 20);
    assert_false(address_is_set(&config.pool6));
    refuse_pool("{'network_pool': '10.0.0.0/25'}",
                "option 'network_pool': '10.0.0.0/25': expected an IPv4 network of 8 to 24 bits, "
                "like 10.187.0.0/16");
    refuse_pool("{'network_pool': 'fd00::/64'}",
                "option 'network_pool': 'fd00::/64': expected an IPv4 network of 8 to 24 bits, "
                "like 10.187.0.0/16");
    refuse_pool("{'network_pool': '10.0.3.0/16'}",
                "option 'network_pool': '10.0.3.0/16' is an address in a network; write the "
                "network: 10.0.0.0/16");
    refuse_pool("{'network_pool6': 'fd00::/112'}",
                "option 'network_pool6': 'fd00::/112': expected an IPv6 network of 1 to 96 bits, "
                "like fd6e:7370:6177:6e00::/96");
}

/* --- damage ---------------------------------------------------------------------------------- */

static void test_config_cut_at_any_byte_is_refused(void **state)
{
    CLEANUP(packed_done) struct packed packed = pack(whole_config);

    (void)state;
    for (size_t n = 1; n < packed.n_bytes; n++) {
        CLEANUP_FREE char *text = alloc_printf(
                "config: not valid msgpack: cut short at byte %zu", n);
        expect_bytes_refused(packed.bytes, n, -EINVAL, text);
    }
}

static void test_any_change_of_a_byte_is_taken_or_refused(void **state)
{
    static const uint8_t changes[] = { 0x00, 0x01, 0x0a, 0x27, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91,
                                       0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc7, 0xca,
                                       0xcb, 0xcc, 0xcf, 0xd0, 0xd3, 0xd4, 0xd9, 0xdb, 0xdc, 0xdd,
                                       0xde, 0xdf, 0xe0, 0xff };
    CLEANUP(packed_done) struct packed packed = pack(whole_config);
    const struct option_table *table = option_tables();
    unsigned n_refused = 0;

    (void)state;
    for (size_t i = 0; i < packed.n_bytes; i++) {
        uint8_t before = packed.bytes[i];
        for (size_t c = 0; c < sizeof(changes); c++) {
            CLEANUP_FAIL struct fail fail = {};
            struct task_options config = {};
            packed.bytes[i] = changes[c];
            int r = task_options_decode(&config, packed.bytes, packed.n_bytes, &fail);
            assert_true(r == 0 || (r == fail.error && fail.message != NULL));
            if (r < 0)
                expect_defaults(table, &config);
            n_refused += r < 0;
            task_options_done(&config);
        }
        packed.bytes[i] = before;
    }
    assert_true(n_refused > packed.n_bytes);
}

static void test_announced_sizes_are_not_believed(void **state)
{
    (void)state;
    EXPECT_BYTES_REFUSED("\x82\xa5image\xa1x\xa7" "command\xdd\xff\xff\xff\xff", -EINVAL,
                         "config: not valid msgpack: cut short at byte 22");
    EXPECT_BYTES_REFUSED("\x82\xa5image\xa1x\xa4" "bind\xdf\xff\xff\xff\xff", -EINVAL,
                         "config: not valid msgpack: cut short at byte 19");
    EXPECT_BYTES_REFUSED("\x81\xa5image\xdb\xff\xff\xff\xffx", -EINVAL,
                         "config: not valid msgpack: cut short at byte 13");
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    expect_refused("{'image': [[[[[[[]]]]]]]}", -E2BIG,
                   "config: nested deeper than 8 levels");
    expect_refused("{'image': [[[[[[]]]]]]}", -EINVAL,
                   "option 'image': expected a string, got a list");
}

/* {"image": "x", KEY: [...]} or {...} with `n` items. */
static struct packed pack_many(const char *key, bool is_map, unsigned n)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2);
    msgpack_pack_str_with_body(&packer, "image", 5);
    msgpack_pack_str_with_body(&packer, "x", 1);
    msgpack_pack_str_with_body(&packer, key, strlen(key));
    if (is_map)
        msgpack_pack_map(&packer, n);
    else
        msgpack_pack_array(&packer, n);
    for (unsigned i = 0; i < n; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", i);
        msgpack_pack_str_with_body(&packer, text, strlen(text));
        if (is_map)
            msgpack_pack_str_with_body(&packer, text, strlen(text));
    }
    struct packed packed = { alloc_memdup(buffer.data, buffer.size), buffer.size };
    msgpack_sbuffer_destroy(&buffer);
    return packed;
}

static void check_many(const char *key, bool is_map)
{
    CLEANUP(packed_done) struct packed most = pack_many(key, is_map, OPTION_DECODE_ITEMS_MAX);
    CLEANUP(packed_done) struct packed more = pack_many(key, is_map, OPTION_DECODE_ITEMS_MAX + 1);
    CLEANUP_FREE char *text = alloc_printf("option '%s': 1025 items; at most 1024 are taken", key);
    struct task_options config = {};

    assert_int_equal(task_options_decode(&config, most.bytes, most.n_bytes, NULL), 0);
    task_options_done(&config);
    expect_bytes_refused(more.bytes, more.n_bytes, -E2BIG, text);
}

static void test_items_are_limited(void **state)
{
    (void)state;
    check_many("command", false);
    check_many("environment", true);
    check_many("port_map", true);
}

static void test_items_of_all_maps_of_a_list_are_counted(void **state)
{
    struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    (void)state;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 1);
    msgpack_pack_str_with_body(&packer, "bind", 4);
    msgpack_pack_array(&packer, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        msgpack_pack_map(&packer, 2);
        for (unsigned j = 0; j < 2; j++) {
            char text[16];
            (void)snprintf(text, sizeof(text), "/%u", 2 * i + j);
            msgpack_pack_str_with_body(&packer, text, strlen(text));
            msgpack_pack_str_with_body(&packer, text, strlen(text));
        }
    }
    int r = task_options_decode(&config, (const uint8_t *)buffer.data, buffer.size, &fail);
    msgpack_sbuffer_destroy(&buffer);
    expect_fail(r, &fail, -E2BIG, "option 'bind': 1026 items; at most 1024 are taken");
    task_options_done(&config);
}

/* --- tables of any length --------------------------------------------------------------------- */

#define LONG_ROWS 300

/* Keys "o0", "o1", ...; one field after the other. */
static struct option_row *long_table(void)
{
    struct option_row *rows = alloc_zero(LONG_ROWS + 1, sizeof(*rows));

    for (size_t i = 0; i < LONG_ROWS; i++)
        rows[i] = (struct option_row){
            .key = alloc_printf("o%zu", i),
            .type = OPTION_TYPE_STRING,
            .offset = i * sizeof(char *),
        };
    return rows;
}

static void long_table_free(struct option_row *rows)
{
    for (size_t i = 0; i < LONG_ROWS; i++)
        free((char *)(uintptr_t)rows[i].key);
    free(rows);
}

/* Every key, in an order that begins in the middle; the last is there again where `again`. */
static char *long_json(bool again)
{
    CLEANUP(strv_done) struct strv entries = {};

    for (size_t i = 0; i < LONG_ROWS; i++) {
        size_t row = (i + 70) % LONG_ROWS;
        strv_printf(&entries, "'o%zu': 'v%zu'", row, row);
    }
    if (again)
        strv_printf(&entries, "'o69': 'other'");
    CLEANUP_FREE char *joined = strv_join(&entries, ", ");
    return alloc_printf("{%s}", joined);
}

static int decode_long(const struct option_row *rows, char **fields, bool again, struct fail *fail)
{
    CLEANUP_FREE char *json = long_json(again);
    CLEANUP(packed_done) struct packed packed = pack(json);

    return option_decode(rows, fields, packed.bytes, packed.n_bytes, fail);
}

static void test_a_table_may_have_any_number_of_rows(void **state)
{
    struct option_row *rows = long_table();
    char *fields[LONG_ROWS] = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    assert_int_equal(decode_long(rows, fields, false, NULL), 0);
    for (size_t i = 0; i < LONG_ROWS; i++) {
        CLEANUP_FREE char *expected = alloc_printf("v%zu", i);
        assert_string_equal(fields[i], expected);
    }
    options_done(rows, fields);
    expect_fail(decode_long(rows, fields, true, &fail), &fail, -EINVAL,
                "option 'o69' is there twice; remove one");
    for (size_t i = 0; i < LONG_ROWS; i++)
        assert_null(fields[i]);
    long_table_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_row_takes_its_own_kind_and_refuses_others_by_name),
        FD_LEAK_TEST(test_wrong_kind_is_told_with_what_is_there),
        FD_LEAK_TEST(test_unknown_option_is_refused_by_name),
        FD_LEAK_TEST(test_what_is_there_twice_is_refused),
        FD_LEAK_TEST(test_missing_option_is_told_with_its_meaning),
        FD_LEAK_TEST(test_control_characters_are_refused_but_those_of_several_lines),
        FD_LEAK_TEST(test_text_as_bytes_is_text),
        FD_LEAK_TEST(test_whole_numbers_come_in_many_forms),
        FD_LEAK_TEST(test_numbers_that_are_none_are_refused),
        FD_LEAK_TEST(test_values_arrive),
        FD_LEAK_TEST(test_later_map_of_a_list_wins),
        FD_LEAK_TEST(test_plugin_config_has_its_defaults_also_after_an_error),
        FD_LEAK_TEST(test_pools_are_networks),
        FD_LEAK_TEST(test_config_cut_at_any_byte_is_refused),
        FD_LEAK_TEST(test_any_change_of_a_byte_is_taken_or_refused),
        FD_LEAK_TEST(test_announced_sizes_are_not_believed),
        FD_LEAK_TEST(test_depth_is_limited),
        FD_LEAK_TEST(test_items_are_limited),
        FD_LEAK_TEST(test_items_of_all_maps_of_a_list_are_counted),
        FD_LEAK_TEST(test_a_table_may_have_any_number_of_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
