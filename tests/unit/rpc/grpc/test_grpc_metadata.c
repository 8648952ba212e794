#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_metadata.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/h2/hpack.h"

#define TEXT(literal) { (literal), sizeof(literal) - 1 }

static void assert_value(const struct grpc_metadata *metadata, const char *key, size_t i,
                         const char *value)
{
    const struct grpc_metadatum *item = grpc_metadata_find(metadata, key, i);

    if (value == NULL) {
        assert_null(item);
        return;
    }
    assert_non_null(item);
    assert_string_equal(item->key, key);
    assert_int_equal(item->n, strlen(value));
    assert_string_equal((const char *)item->value, value);
}

static void test_an_application_s_headers_are_read_and_no_others(void **state)
{
    static const struct h2_header items[] = {
        { TEXT("content-type"), TEXT("application/grpc") },
        { TEXT("te"), TEXT("trailers") },
        { TEXT("user-agent"), TEXT("grpc-go") },
        { TEXT("grpc-timeout"), TEXT("1S") },
        { TEXT("x"), TEXT("one, two") },
        { TEXT("y-bin"), TEXT("Zg==") },
        { TEXT("x"), TEXT("") },
        { TEXT("tee"), TEXT("z") },
    };
    const struct h2_headers headers = { .items = items, .n_items = 8 };
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};

    (void)state;
    assert_int_equal(grpc_metadata_read(&headers, &metadata), 0);
    assert_int_equal(metadata.n_items, 4);
    assert_value(&metadata, "x", 0, "one, two");
    assert_value(&metadata, "x", 1, "");
    assert_value(&metadata, "x", 2, NULL);
    assert_value(&metadata, "y-bin", 0, "f");
    assert_value(&metadata, "tee", 0, "z");
    assert_value(&metadata, "te", 0, NULL);
}

static void test_headers_of_which_none_is_an_application_s_take_no_memory(void **state)
{
    static const struct h2_header items[] = { { TEXT("te"), TEXT("trailers") } };
    const struct h2_headers headers = { .items = items, .n_items = 1 };
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};

    (void)state;
    assert_int_equal(grpc_metadata_read(&headers, &metadata), 0);
    assert_null(metadata.items);
    assert_int_equal(metadata.heap_bytes, 0);
}

static int read_binary(const char *text, struct grpc_metadata *metadata)
{
    /* nothing behind it */
    CLEANUP_FREE char *copy = alloc_memdup(text, strlen(text) + 1);
    const struct h2_header item = { TEXT("k-bin"), { copy, strlen(text) } };
    const struct h2_headers headers = { .items = &item, .n_items = 1 };

    return grpc_metadata_read(&headers, metadata);
}

static void test_values_joined_by_commas_come_apart(void **state)
{
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};

    (void)state;
    assert_int_equal(read_binary("Zg==,Zm8, Zm9v,,AA", &metadata), 0);
    assert_int_equal(metadata.n_items, 5);
    assert_value(&metadata, "k-bin", 0, "f");
    assert_value(&metadata, "k-bin", 1, "fo");
    assert_value(&metadata, "k-bin", 2, "foo");
    assert_value(&metadata, "k-bin", 3, "");
    const struct grpc_metadatum *zero = grpc_metadata_find(&metadata, "k-bin", 4);
    assert_int_equal(zero->n, 1);
    assert_int_equal(zero->value[0], 0);
}

static void test_what_is_not_base64_is_refused_whole(void **state)
{
    static const char *const bad[] = { "Zg=", "Zg==,Z", "Zg,Zg;", "\xff", " ", ",  ", " ,"  };
    struct grpc_metadata metadata = {};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_binary(bad[i], &metadata), -EBADMSG);
        assert_null(metadata.items);
    }
}

static void test_what_is_added_is_read_by_another_codec(void **state)
{
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};
    struct hpack hpack;

    (void)state;
    assert_int_equal(grpc_metadata_add(&metadata, "x-text", "a b", 3), 0);
    assert_int_equal(grpc_metadata_add(&metadata, "x-bin", "\0\xff", 2), 0);
    assert_int_equal(grpc_metadata_add(&metadata, "x-empty", NULL, 0), 0);
    assert_int_equal(grpc_metadata_add(&metadata, "x-empty-bin", NULL, 0), 0);
    CLEANUP_FREE uint8_t *block = alloc_zero(1, metadata.encoded_bytes);
    const uint8_t *end = grpc_metadata_write(&metadata, block);
    hpack_init(&hpack);
    CLEANUP_FREE char *lines = hpack_decode(&hpack, block, (size_t)(end - block));
    assert_string_equal(lines, "x-text: a b\nx-bin: AP8\nx-empty: \nx-empty-bin: \n");
    hpack_done(&hpack);
}

static void test_what_may_not_be_sent_is_not_added(void **state)
{
    static const char *const keys[] = { "", "X", "a b", "a:b", "grpc-status", "te", "content-type",
                                        ":path", "\xc3\xa4", "a\n" };
    static const char *const values[] = { "\n", "\t", "\xc3\xa4", " a", "a ", "\x7f" };
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_int_equal(grpc_metadata_add(&metadata, keys[i], "v", 1), -EINVAL);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(grpc_metadata_add(&metadata, "k", values[i], strlen(values[i])), -EINVAL);
        assert_int_equal(grpc_metadata_add(&metadata, "k-bin", values[i], strlen(values[i])), 0);
    }
    assert_int_equal(metadata.n_items, sizeof(values) / sizeof(values[0]));
}

/* And the limit holds for all together, in exactly the memory that it says. */
static void test_what_is_sent_is_limited(void **state)
{
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};
    uint8_t value[GRPC_METADATA_SENT_MAX + 1];
    size_t n_added = 0;

    (void)state;
    memset(value, 0xf3, sizeof(value));
    assert_int_equal(grpc_metadata_add(&metadata, "a-bin", value, sizeof(value)), -ENOBUFS);
    assert_int_equal(grpc_metadata_add(&metadata, "a-bin", value, sizeof(value) * 3 / 4), -ENOBUFS);
    while (grpc_metadata_add(&metadata, "a-bin", value, 1 + n_added % 7) == 0)
        n_added++;
    assert_int_equal(metadata.n_items, n_added);
    assert_in_range(metadata.encoded_bytes, GRPC_METADATA_SENT_MAX - 40, GRPC_METADATA_SENT_MAX);
    CLEANUP_FREE uint8_t *block = alloc_zero(1, metadata.encoded_bytes);
    assert_true(grpc_metadata_write(&metadata, block) <= block + metadata.encoded_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_an_application_s_headers_are_read_and_no_others),
        FD_LEAK_TEST(test_headers_of_which_none_is_an_application_s_take_no_memory),
        FD_LEAK_TEST(test_values_joined_by_commas_come_apart),
        FD_LEAK_TEST(test_what_is_not_base64_is_refused_whole),
        FD_LEAK_TEST(test_what_is_added_is_read_by_another_codec),
        FD_LEAK_TEST(test_what_may_not_be_sent_is_not_added),
        FD_LEAK_TEST(test_what_is_sent_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
