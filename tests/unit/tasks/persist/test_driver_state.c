#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/persist/driver_state.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/pack.h"

/* Every field with a value of its own. */
static struct driver_state whole_state(void)
{
    struct driver_state state = {
        .machine = alloc_strdup("web-1"),
        .invocation_id = alloc_strdup("0123456789abcdef0123456789abcdef"),
        .boot_id = alloc_strdup("fedcba9876543210fedcba9876543210"),
        .stdout_path = alloc_strdup("/alloc/logs/.web.stdout.fifo"),
        .stderr_path = alloc_strdup("/alloc/logs/.web.stderr.fifo"),
        .runtime_dir = alloc_strdup("/run/nomad-driver-nspawn/web-1"),
        .image = alloc_strdup("/var/lib/machines/gr\xc3\xbc\xc3\x9f"),
        .boot = true,
        .as_pid2 = true,
        .uid_base = 4294901760,
        .started_usec = UINT64_MAX,
    };

    strv_push(&state.shifted_dirs, "/alloc/web/secrets");
    strv_push(&state.shifted_dirs, "");
    return state;
}

static struct packed encode(const struct driver_state *state)
{
    struct packed packed = {};

    driver_state_encode(state, &packed.bytes, &packed.n_bytes);
    return packed;
}

static void expect_equal(const struct driver_state *a, const struct driver_state *b)
{
    assert_string_equal(a->machine, b->machine);
    assert_string_equal(a->invocation_id, b->invocation_id);
    assert_string_equal(a->boot_id, b->boot_id);
    assert_string_equal(a->stdout_path, b->stdout_path);
    assert_string_equal(a->stderr_path, b->stderr_path);
    assert_string_equal(a->runtime_dir, b->runtime_dir);
    assert_string_equal(a->image, b->image);
    assert_int_equal(a->boot, b->boot);
    assert_int_equal(a->as_pid2, b->as_pid2);
    assert_int_equal(a->uid_base, b->uid_base);
    assert_true(a->started_usec == b->started_usec);
    assert_int_equal(a->shifted_dirs.n_items, b->shifted_dirs.n_items);
    for (size_t i = 0; i < a->shifted_dirs.n_items; i++)
        assert_string_equal(a->shifted_dirs.items[i], b->shifted_dirs.items[i]);
}

static void expect_empty(const struct driver_state *state)
{
    static const struct driver_state empty;

    assert_memory_equal(state, &empty, sizeof(empty));
}

static void test_what_is_encoded_is_decoded(void **state)
{
    CLEANUP(driver_state_done) struct driver_state one = whole_state(), other = {};
    CLEANUP(packed_done) struct packed packed = encode(&one);

    (void)state;
    assert_int_equal(driver_state_decode(&other, packed.bytes, packed.n_bytes, NULL), 0);
    expect_equal(&one, &other);
}

static void test_what_is_not_there_stays_empty(void **state)
{
    CLEANUP(driver_state_done) struct driver_state one = {
        .machine = alloc_strdup("m"), .invocation_id = alloc_strdup("i"), .boot_id = alloc_strdup("b")
    };
    CLEANUP(driver_state_done) struct driver_state other = {};
    CLEANUP(packed_done) struct packed packed = encode(&one);

    (void)state;
    assert_int_equal(driver_state_decode(&other, packed.bytes, packed.n_bytes, NULL), 0);
    assert_null(other.stdout_path);
    assert_null(other.image);
    assert_false(other.boot);
    assert_int_equal(other.uid_base, 0);
    assert_int_equal(other.shifted_dirs.n_items, 0);
}

static void decode_json(struct driver_state *state, const char *json)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP_FAIL struct fail fail = {};

    if (driver_state_decode(state, packed.bytes, packed.n_bytes, &fail) < 0)
        fail_msg("%s: %s", json, fail_text(&fail));
}

/* A plugin of today must find the tasks that one of the first day started: never change this text. */
static void test_state_of_the_first_version_is_understood_for_ever(void **state)
{
    CLEANUP(driver_state_done) struct driver_state decoded = {};

    (void)state;
    decode_json(&decoded,
                "{'version': 1, 'machine': 'web-1', 'invocation_id': '0123', 'boot_id': 'fedc',"
                " 'stdout_path': '/o', 'stderr_path': '/e', 'runtime_dir': '/r', 'image': '/i',"
                " 'boot': true, 'as_pid2': false, 'uid_base': 524288,"
                " 'shifted_dirs': ['/s'], 'started_usec': 1700000000000000}");
    assert_string_equal(decoded.machine, "web-1");
    assert_string_equal(decoded.invocation_id, "0123");
    assert_string_equal(decoded.boot_id, "fedc");
    assert_string_equal(decoded.stdout_path, "/o");
    assert_string_equal(decoded.stderr_path, "/e");
    assert_string_equal(decoded.runtime_dir, "/r");
    assert_string_equal(decoded.image, "/i");
    assert_true(decoded.boot);
    assert_int_equal(decoded.uid_base, 524288);
    assert_string_equal(decoded.shifted_dirs.items[0], "/s");
    assert_true(decoded.started_usec == 1700000000000000);
}

#define REQUIRED "'machine': 'm', 'invocation_id': 'i', 'boot_id': 'b'"

static void test_keys_of_a_later_plugin_are_passed_over(void **state)
{
    CLEANUP(driver_state_done) struct driver_state decoded = {};

    (void)state;
    decode_json(&decoded, "{'new': {'a': [1, 2.5]}, 7: true, 'version': 1, " REQUIRED "}");
    assert_string_equal(decoded.machine, "m");
}

static void test_first_of_two_counts(void **state)
{
    CLEANUP(driver_state_done) struct driver_state decoded = {};

    (void)state;
    decode_json(&decoded, "{'version': 1, " REQUIRED ", 'machine': 'other', 'machine': 7}");
    assert_string_equal(decoded.machine, "m");
}

static void expect_refused(const char *json, int error, const char *text)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP_FAIL struct fail fail = {};
    struct driver_state decoded = {};

    expect_fail(driver_state_decode(&decoded, packed.bytes, packed.n_bytes, &fail), &fail, error,
                text);
    expect_empty(&decoded);
}

#define DAMAGED "the task's saved state is damaged: "

static void test_newer_version_is_refused_with_a_remedy(void **state)
{
    (void)state;
    expect_refused("{'version': 2, " REQUIRED "}", -EPROTONOSUPPORT,
                   "the task's saved state has version 2, this plugin knows up to 1: it was started "
                   "by a newer plugin; install that one again to recover it");
    /* Whatever else a later version may have changed. */
    expect_refused("{'version': 4294967296, 'machine': 7}", -EPROTONOSUPPORT,
                   "the task's saved state has version 4294967296, this plugin knows up to 1: it "
                   "was started by a newer plugin; install that one again to recover it");
}

static void test_version_that_is_none_is_damage(void **state)
{
    (void)state;
    expect_refused("{" REQUIRED "}", -EINVAL, DAMAGED "'version' is not there");
    expect_refused("{'version': -1, " REQUIRED "}", -EINVAL,
                   DAMAGED "'version' is not a number in its range");
    expect_refused("{'version': '1', " REQUIRED "}", -EINVAL,
                   DAMAGED "'version' is not a number in its range");
    expect_refused("{'version': null, " REQUIRED "}", -EINVAL,
                   DAMAGED "'version' is not a number in its range");
}

static void test_what_is_required_is_missed_by_name(void **state)
{
    (void)state;
    expect_refused("{'version': 1, 'invocation_id': 'i', 'boot_id': 'b'}", -EINVAL,
                   DAMAGED "'machine' is not there");
    expect_refused("{'version': 1, 'machine': 'm', 'boot_id': 'b'}", -EINVAL,
                   DAMAGED "'invocation_id' is not there");
    expect_refused("{'version': 1, 'machine': 'm', 'invocation_id': 'i'}", -EINVAL,
                   DAMAGED "'boot_id' is not there");
    expect_refused("{'version': 1, 'machine': null, 'invocation_id': 'i', 'boot_id': 'b'}", -EINVAL,
                   DAMAGED "'machine' is not there");
}

static void test_wrong_kinds_are_told_by_name(void **state)
{
    static const struct {
        const char *key, *value, *expected;
    } wrong[] = {
        { "image", "7", "a text" },
        { "image", "[]", "a text" },
        { "boot", "1", "a bool" },
        { "boot", "'true'", "a bool" },
        { "uid_base", "4294967296", "a number in its range" },
        { "uid_base", "-1", "a number in its range" },
        { "uid_base", "1.0", "a number in its range" },
        { "started_usec", "'x'", "a number in its range" },
        { "shifted_dirs", "'x'", "a list" },
        { "shifted_dirs", "{}", "a list" },
        { "shifted_dirs", "['/a', 7]", "a text" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CLEANUP_FREE char *json = alloc_printf("{'version': 1, " REQUIRED ", '%s': %s}",
                                               wrong[i].key, wrong[i].value);
        CLEANUP_FREE char *text = alloc_printf(DAMAGED "'%s' is not %s", wrong[i].key,
                                               wrong[i].expected);
        expect_refused(json, -EINVAL, text);
    }
    expect_refused("['version', 1]", -EINVAL, DAMAGED "expected a map, got a list");
}

/* Strings end at their first NUL: two states that differ must not become one. */
static void test_text_with_a_nul_is_damage(void **state)
{
    static const uint8_t bytes[] = "\x84\xa7version\x01\xa7machine\xa3m\0n\xadinvocation_id\xa1i"
                                   "\xa7" "boot_id\xa1" "b";
    CLEANUP_FAIL struct fail fail = {};
    struct driver_state decoded = {};

    (void)state;
    expect_fail(driver_state_decode(&decoded, bytes, sizeof(bytes) - 1, &fail), &fail, -EINVAL,
                DAMAGED "'machine' is not a text");
    expect_empty(&decoded);
}

static void test_list_has_a_longest_length(void **state)
{
    CLEANUP(driver_state_done) struct driver_state many = whole_state(), decoded = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    while (many.shifted_dirs.n_items < 1025)
        strv_push(&many.shifted_dirs, "/a");
    CLEANUP(packed_done) struct packed packed = encode(&many);
    expect_fail(driver_state_decode(&decoded, packed.bytes, packed.n_bytes, &fail), &fail, -EINVAL,
                DAMAGED "'shifted_dirs' is not a list");
    expect_empty(&decoded);
}

static void test_state_cut_at_any_byte_is_damage(void **state)
{
    CLEANUP(driver_state_done) struct driver_state one = whole_state();
    CLEANUP(packed_done) struct packed packed = encode(&one);

    (void)state;
    for (size_t n = 0; n < packed.n_bytes; n++) {
        CLEANUP_FREE uint8_t *cut = alloc_memdup(packed.bytes, n);
        CLEANUP_FREE char *text = alloc_printf(DAMAGED "not valid msgpack: cut short at byte %zu", n);
        CLEANUP_FAIL struct fail fail = {};
        struct driver_state decoded = {};
        expect_fail(driver_state_decode(&decoded, cut, n, &fail), &fail, -EINVAL, text);
        expect_empty(&decoded);
    }
}

static void test_any_change_of_a_byte_is_taken_or_refused(void **state)
{
    CLEANUP(driver_state_done) struct driver_state one = whole_state();
    CLEANUP(packed_done) struct packed packed = encode(&one);
    unsigned n_refused = 0;

    (void)state;
    for (size_t i = 0; i < packed.n_bytes; i++) {
        uint8_t before = packed.bytes[i];
        for (unsigned change = 1; change < 256; change += 6) {
            CLEANUP_FAIL struct fail fail = {};
            CLEANUP(driver_state_done) struct driver_state decoded = {};
            packed.bytes[i] = (uint8_t)(before ^ change);
            int r = driver_state_decode(&decoded, packed.bytes, packed.n_bytes, &fail);
            assert_true(r == 0 || (r == fail.error && fail.message != NULL));
            if (r < 0)
                expect_empty(&decoded);
            else
                assert_true(decoded.machine && decoded.invocation_id && decoded.boot_id);
            n_refused += r < 0;
        }
        packed.bytes[i] = before;
    }
    assert_true(n_refused > packed.n_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_is_encoded_is_decoded),
        FD_LEAK_TEST(test_what_is_not_there_stays_empty),
        FD_LEAK_TEST(test_state_of_the_first_version_is_understood_for_ever),
        FD_LEAK_TEST(test_keys_of_a_later_plugin_are_passed_over),
        FD_LEAK_TEST(test_first_of_two_counts),
        FD_LEAK_TEST(test_newer_version_is_refused_with_a_remedy),
        FD_LEAK_TEST(test_version_that_is_none_is_damage),
        FD_LEAK_TEST(test_what_is_required_is_missed_by_name),
        FD_LEAK_TEST(test_wrong_kinds_are_told_by_name),
        FD_LEAK_TEST(test_text_with_a_nul_is_damage),
        FD_LEAK_TEST(test_list_has_a_longest_length),
        FD_LEAK_TEST(test_state_cut_at_any_byte_is_damage),
        FD_LEAK_TEST(test_any_change_of_a_byte_is_taken_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
