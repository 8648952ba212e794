#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver.pb-c.h"
#include "hcl_spec.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_message.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/fd_leak.h"

/* Bytes with nothing behind them. */
static int unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
                  struct grpc_message **ret_message)
{
    CLEANUP_FREE uint8_t *copy = n > 0 ? alloc_memdup(bytes, n) : NULL;

    return grpc_message_unpack(type, copy, n, ret_message);
}

/* 0, -EBADMSG or -ENOBUFS, and what was unpacked is within its limit. */
static int try_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n)
{
    struct grpc_message *message = NULL;

    int r = unpack(type, bytes, n, &message);
    if (r < 0) {
        assert_null(message);
        assert_true(r == -EBADMSG || r == -ENOBUFS);
        return r;
    }
    assert_ptr_equal(grpc_message_get(message)->descriptor, type);
    assert_true(grpc_message_heap_bytes(message) <=
                GRPC_MESSAGE_HEAP_BASE + n * GRPC_MESSAGE_HEAP_MULTIPLE);
    assert_true(grpc_message_heap_bytes(message) <= GRPC_MESSAGE_HEAP_MAX);
    assert_null(grpc_message_free(message));
    return r;
}

/* --- a message as the agent sends it --------------------------------------------------------- */

static size_t pack_start_task(uint8_t *to, size_t size)
{
    Nomad__StartTaskRequest request = NOMAD__START_TASK_REQUEST__INIT;
    Nomad__TaskConfig task = NOMAD__TASK_CONFIG__INIT;
    Nomad__TaskConfig__EnvEntry home = NOMAD__TASK_CONFIG__ENV_ENTRY__INIT, shell = home;
    Nomad__TaskConfig__EnvEntry *env[] = { &home, &shell };
    Nomad__Mount mount = NOMAD__MOUNT__INIT, *mounts[] = { &mount };
    uint8_t config[] = { 0x81, 0xa1, 'a', 0x01 };

    home.key = "HOME";
    home.value = "/root";
    shell.key = "SHELL";
    shell.value = "/bin/sh";
    mount.task_path = "/a";
    mount.host_path = "/b";
    task.id = "task";
    task.name = "web";
    task.n_env = 2;
    task.env = env;
    task.n_mounts = 1;
    task.mounts = mounts;
    task.msgpack_driver_config = (ProtobufCBinaryData){ sizeof(config), config };
    request.task = &task;
    assert_true(nomad__start_task_request__get_packed_size(&request) <= size);
    return nomad__start_task_request__pack(&request, to);
}

static void test_a_request_is_unpacked(void **state)
{
    struct grpc_message *message = NULL;
    uint8_t bytes[256];
    size_t n = pack_start_task(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(unpack(&nomad__start_task_request__descriptor, bytes, n, &message), 0);
    const Nomad__StartTaskRequest *request =
        (const Nomad__StartTaskRequest *)grpc_message_get(message);
    assert_string_equal(request->task->id, "task");
    assert_int_equal(request->task->n_env, 2);
    assert_string_equal(request->task->env[1]->value, "/bin/sh");
    assert_string_equal(request->task->mounts[0]->host_path, "/b");
    assert_true(grpc_message_heap_bytes(message) > n);
    assert_null(grpc_message_free(message));
    assert_null(grpc_message_free(NULL));
}

static void test_no_bytes_are_an_empty_message(void **state)
{
    (void)state;
    assert_int_equal(try_unpack(&nomad__start_task_request__descriptor, NULL, 0), 0);
    assert_int_equal(try_unpack(&hcl__literal__descriptor, NULL, 0), 0);
}

static void test_a_request_cut_anywhere_is_malformed(void **state)
{
    uint8_t bytes[256];
    size_t n = pack_start_task(bytes, sizeof(bytes));

    (void)state;
    for (size_t cut = 1; cut < n; cut++)
        assert_int_equal(try_unpack(&nomad__start_task_request__descriptor, bytes, cut), -EBADMSG);
}

/* Each byte replaced by each other one. */
static void test_any_wrong_byte_is_survived(void **state)
{
    uint8_t bytes[256];
    size_t n = pack_start_task(bytes, sizeof(bytes));
    unsigned n_malformed = 0;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        uint8_t kept = bytes[i];

        for (unsigned byte = 0; byte < 256; byte++) {
            bytes[i] = (uint8_t)byte;
            n_malformed += try_unpack(&nomad__start_task_request__descriptor, bytes, n) < 0;
        }
        bytes[i] = kept;
    }
    assert_in_range(n_malformed, 100, n * 255);
}

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static void test_malformed_fields_are_refused(void **state)
{
    static const struct {
        const uint8_t *bytes;
        size_t n;
        int r;
    } rows[] = {
        { BYTES("\x0a\x01x"), 0 },                  /* name = "x" */
        { BYTES("\x9a\x06\x01x"), 0 },              /* an unknown field */
        { BYTES("\x0a\x02x"), -EBADMSG },           /* longer than what there is */
        { BYTES("\x0a\xff\xff\xff\xff\x0fx"), -EBADMSG },
        { BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), -EBADMSG },
        { BYTES("\x08\x01"), -EBADMSG },            /* a number for a string */
        { BYTES("\x0a"), -EBADMSG },
        { BYTES("\x02\x01x"), -EBADMSG },           /* field 0 */
        { BYTES("\x0b\x0c"), -EBADMSG },            /* a group */
        { BYTES("\x0f\x01"), -EBADMSG },            /* no such wire type */
        { BYTES("\xff\xff\xff\xff\xff\xff"), -EBADMSG },
        { BYTES("\x10"), -EBADMSG },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int r = try_unpack(&hcl__block__descriptor, rows[i].bytes, rows[i].n);
        if (r != rows[i].r)
            fail_msg("row %zu: %d", i, r);
    }
}

/* --- limits ---------------------------------------------------------------------------------- */

static size_t write_length(uint8_t *to, size_t n)
{
    size_t i = 0;

    for (; n >= 0x80; n >>= 7)
        to[i++] = (uint8_t)(n | 0x80);
    to[i++] = (uint8_t)n;
    return i;
}

/* Spec { block_value { nested: Spec { block_value ... } } }, written from its inside. */
static const uint8_t *pack_nested(uint8_t *to, size_t size, unsigned depth, size_t *ret_n)
{
    size_t at = size;

    for (unsigned i = 0; i < 2 * depth; i++) {
        uint8_t length[10];
        size_t n = write_length(length, size - at);

        assert_true(at > n);
        at -= n;
        memcpy(to + at, length, n);
        to[--at] = i % 2 == 0 ? 0x1a : 0x22;
    }
    *ret_n = size - at;
    return to + at;
}

/* Fifty is more than anybody nests; the largest message there is could hold 400000. */
static void test_nesting_is_limited_and_does_not_exhaust_the_stack(void **state)
{
    static const struct {
        unsigned depth;
        int r;
    } rows[] = { { 0, 0 }, { 1, 0 }, { 50, 0 }, { 100000, -ENOBUFS }, { 400000, -ENOBUFS } };
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n;
        const uint8_t *nested = pack_nested(bytes, GRPC_WIRE_MESSAGE_MAX, rows[i].depth, &n);

        int r = try_unpack(&hcl__spec__descriptor, nested, n);
        if (r != rows[i].r)
            fail_msg("depth %u: %d", rows[i].depth, r);
    }
}

/* Two bytes each that become a struct. */
static size_t pack_empties(uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + 2 * i, "\x0a", 2);
    return 2 * n;
}

static void test_memory_of_a_message_is_limited(void **state)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX);

    (void)state;
    size_t n = pack_empties(bytes, 100);
    assert_int_equal(try_unpack(&hcl__array__descriptor, bytes, n), 0);
    n = pack_empties(bytes, GRPC_WIRE_MESSAGE_MAX / 2);
    assert_int_equal(try_unpack(&hcl__array__descriptor, bytes, n), -ENOBUFS);
}

/* The limit is hit at another allocation each time, and nothing is left of half a message.
 * With labels, whose strings are allocations of their own. */
static void test_a_message_refused_at_any_allocation_leaves_nothing(void **state)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, 64 * 1024);
    unsigned n_refused = 0;

    (void)state;
    for (size_t n_values = 50; n_values < 1550; n_values += 3) {
        uint8_t *to = bytes;

        for (size_t i = 0; i < n_values; i++) {
            /* Array { values: Spec { block_map { labels } } } */
            static const uint8_t value[] = { 0x0a, 0x06, 0x42, 0x04, 0x12, 0x00, 0x12, 0x00 };

            memcpy(to, value, sizeof(value));
            to += sizeof(value);
        }
        n_refused += try_unpack(&hcl__array__descriptor, bytes, (size_t)(to - bytes)) == -ENOBUFS;
    }
    assert_in_range(n_refused, 100, 499);
}

/* The largest honest message: a big string costs little more than itself. */
static void test_the_largest_message_fits(void **state)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX);
    size_t n = GRPC_WIRE_MESSAGE_MAX - 5;

    (void)state;
    memset(bytes, 'x', GRPC_WIRE_MESSAGE_MAX);
    bytes[0] = 0x0a;
    assert_int_equal(write_length(bytes + 1, n), 4);
    assert_int_equal(try_unpack(&hcl__block__descriptor, bytes, n + 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_request_is_unpacked),
        FD_LEAK_TEST(test_no_bytes_are_an_empty_message),
        FD_LEAK_TEST(test_a_request_cut_anywhere_is_malformed),
        FD_LEAK_TEST(test_any_wrong_byte_is_survived),
        FD_LEAK_TEST(test_malformed_fields_are_refused),
        FD_LEAK_TEST(test_nesting_is_limited_and_does_not_exhaust_the_stack),
        FD_LEAK_TEST(test_memory_of_a_message_is_limited),
        FD_LEAK_TEST(test_a_message_refused_at_any_allocation_leaves_nothing),
        FD_LEAK_TEST(test_the_largest_message_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
