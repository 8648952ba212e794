/* grpc_status, and the header blocks that carry it (grpc_block). */
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
#include "reactor/utf8.h"
#include "rpc/grpc/grpc_block.h"
#include "rpc/grpc/grpc_status.h"
#include "status.pb-c.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/h2/hpack.h"

#define TYPE_URL "type.example/x.Y"

/* --- errno to code --------------------------------------------------------------------------- */

static const struct {
    int error;
    enum grpc_code code;
} codes[] = {
    { -EINVAL, GRPC_INVALID_ARGUMENT },   { EINVAL, GRPC_INVALID_ARGUMENT },
    { -ENOENT, GRPC_NOT_FOUND },          { -ESRCH, GRPC_NOT_FOUND },
    { -EEXIST, GRPC_ALREADY_EXISTS },     { -EPERM, GRPC_PERMISSION_DENIED },
    { -ENOSPC, GRPC_RESOURCE_EXHAUSTED }, { -EBUSY, GRPC_FAILED_PRECONDITION },
    { -ETIMEDOUT, GRPC_DEADLINE_EXCEEDED }, { -EOPNOTSUPP, GRPC_UNIMPLEMENTED },
    { -EPROTO, GRPC_INTERNAL },           { -ERANGE, GRPC_OUT_OF_RANGE },
    { -ECANCELED, GRPC_ABORTED },         { 0, GRPC_UNKNOWN },
    { -99999, GRPC_UNKNOWN },
};

static void test_an_errno_has_the_code_a_client_expects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (grpc_status_code(codes[i].error) != codes[i].code)
            fail_msg("%d: %d", codes[i].error, grpc_status_code(codes[i].error));
}

/* A failure is never OK, nor one of the two codes that mean something else to the host. */
static void test_no_errno_is_success_or_a_dying_plugin(void **state)
{
    (void)state;
    for (int error = -4096; error <= 4096; error++) {
        enum grpc_code code = grpc_status_code(error);

        assert_true(code > GRPC_OK && code < GRPC_CODE_MAX);
        assert_int_not_equal(code, GRPC_UNAVAILABLE);
        assert_int_not_equal(code, GRPC_CANCELLED);
    }
}

/* --- messages -------------------------------------------------------------------------------- */

static void test_a_failure_s_sentence_is_the_message(void **state)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_GRPC_STATUS struct grpc_status status = {};

    (void)state;
    fail_set(&fail, -ENOENT, "image '%s' is not there", "x");
    grpc_status_from_fail(&fail, &status);
    assert_int_equal(status.code, GRPC_NOT_FOUND);
    assert_string_equal(status.message, "image 'x' is not there");
    assert_null(status.details);
    grpc_status_done(&status);
    grpc_status_done(&status);
    assert_null(status.message);
}

/* The host's protobuf refuses what is not UTF-8. */
static void test_messages_are_made_utf8_and_cut_between_characters(void **state)
{
    (void)state;
    for (size_t before = 0; before < 4; before++) {
        CLEANUP_GRPC_STATUS struct grpc_status status = {};
        CLEANUP_FREE char *text = alloc_zero(1, 2 * GRPC_STATUS_MESSAGE_MAX + 1);

        memset(text, 'x', before);
        for (size_t n = before; n + 3 < 2 * GRPC_STATUS_MESSAGE_MAX; n += 3)
            memcpy(text + n, "\xe2\x82\xac", 3);
        grpc_status_set(&status, GRPC_INTERNAL, "%s", text);
        size_t n = strlen(status.message);
        assert_in_range(n, GRPC_STATUS_MESSAGE_MAX - 2, GRPC_STATUS_MESSAGE_MAX);
        assert_true(utf8_is_valid(status.message, n));
        assert_memory_equal(status.message, text, n);
    }
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    grpc_status_set(&status, GRPC_INTERNAL, "a%sb", "\xff");
    assert_string_equal(status.message, "a\xef\xbf\xbd" "b");
}

static void test_a_recoverable_failure_carries_the_registered_detail(void **state)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_GRPC_STATUS struct grpc_status plain = {}, status = {};

    (void)state;
    fail_set_recoverable(&fail, -ENOENT, "not yet");
    grpc_status_from_fail(&fail, &plain); /* nothing is registered */
    assert_int_equal(plain.code, GRPC_NOT_FOUND);
    assert_null(plain.details);

    grpc_status_set_recoverable_detail(TYPE_URL, "\x08\x01", 2);
    grpc_status_from_fail(&fail, &status);
    assert_int_equal(status.code, GRPC_FAILED_PRECONDITION);
    Google__Rpc__Status *message =
        google__rpc__status__unpack(NULL, status.n_details, status.details);
    assert_non_null(message);
    assert_int_equal(message->code, GRPC_FAILED_PRECONDITION);
    assert_string_equal(message->message, "not yet");
    assert_int_equal(message->n_details, 1);
    assert_string_equal(message->details[0]->type_url, TYPE_URL);
    assert_int_equal(message->details[0]->value.len, 2);
    assert_memory_equal(message->details[0]->value.data, "\x08\x01", 2);
    google__rpc__status__free_unpacked(message, NULL);

    CLEANUP_FAIL struct fail final = {};
    CLEANUP_GRPC_STATUS struct grpc_status final_status = {};
    fail_set(&final, -ENOENT, "never");
    grpc_status_from_fail(&final, &final_status);
    assert_int_equal(final_status.code, GRPC_NOT_FOUND);
    assert_null(final_status.details);
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void assert_block(const uint8_t *block, size_t n, const char *lines)
{
    struct hpack hpack;

    hpack_init(&hpack);
    CLEANUP_FREE char *text = hpack_decode(&hpack, block, n);
    assert_string_equal(text, lines);
    hpack_done(&hpack);
}

static const struct grpc_metadata none;

static void test_blocks_are_what_another_codec_reads(void **state)
{
    uint8_t block[GRPC_BLOCK_MAX];
    char message[] = "50% \xc3\xa4";
    uint8_t details[] = { 0xff, 0xfe };
    const struct grpc_status ok = {};
    const struct grpc_status error = { GRPC_NOT_FOUND, message, details, sizeof(details) };
    const struct grpc_status unknown = { GRPC_UNIMPLEMENTED, NULL, NULL, 0 };

    (void)state;
    assert_block(block, grpc_block_headers(block, &none),
                 ":status: 200\ncontent-type: application/grpc\n");
    assert_block(block, grpc_block_trailers(block, &ok, &none), "grpc-status: 0\n");
    assert_block(block, grpc_block_trailers(block, &error, &none),
                 "grpc-status: 5\ngrpc-message: 50%25 %C3%A4\ngrpc-status-details-bin: //4\n");
    assert_block(block, grpc_block_only(block, &error, &none),
                 ":status: 200\ncontent-type: application/grpc\n"
                 "grpc-status: 5\ngrpc-message: 50%25 %C3%A4\ngrpc-status-details-bin: //4\n");
    assert_block(block, grpc_block_only(block, &unknown, &none),
                 ":status: 200\ncontent-type: application/grpc\n"
                 "grpc-accept-encoding: identity\ngrpc-status: 12\n");
    assert_block(block, grpc_block_text(block, "405"),
                 ":status: 405\nallow: POST\ncontent-type: text/plain; charset=utf-8\n");
    assert_block(block, grpc_block_text(block, "415"),
                 ":status: 415\ncontent-type: text/plain; charset=utf-8\n");
    assert_block(block, grpc_block_refusal(block, "415", &unknown),
                 ":status: 415\ncontent-type: application/grpc\ngrpc-status: 12\n");
}

/* Encoded as long as it can be, into exactly the memory that callers have. */
static void test_the_longest_status_fits_into_a_block(void **state)
{
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *text = alloc_zero(1, GRPC_STATUS_MESSAGE_MAX + 100);
    CLEANUP_FREE char *value = alloc_zero(1, GRPC_STATUS_DETAIL_MAX);
    CLEANUP_FREE uint8_t *block = alloc_zero(1, GRPC_BLOCK_MAX);
    CLEANUP_GRPC_STATUS struct grpc_status status = {};

    (void)state;
    memset(text, '\n', GRPC_STATUS_MESSAGE_MAX + 99);
    memset(value, 0xff, GRPC_STATUS_DETAIL_MAX);
    grpc_status_set_recoverable_detail(TYPE_URL, value, GRPC_STATUS_DETAIL_MAX - strlen(TYPE_URL));
    fail_set_recoverable(&fail, -EINVAL, "%s", text);
    grpc_status_from_fail(&fail, &status);
    assert_int_equal(strlen(status.message), GRPC_STATUS_MESSAGE_MAX);
    uint8_t bytes[GRPC_METADATA_SENT_MAX];
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};
    size_t n = sizeof(bytes);
    memset(bytes, 0xff, n);
    while (grpc_metadata_add(&metadata, "x-bin", bytes, n) == -ENOBUFS)
        n--;
    assert_in_range(grpc_block_only(block, &status, &metadata), 3 * GRPC_STATUS_MESSAGE_MAX,
                    GRPC_BLOCK_MAX);
    assert_in_range(grpc_block_trailers(block, &status, &metadata), 3 * GRPC_STATUS_MESSAGE_MAX,
                    GRPC_BLOCK_MAX);
    assert_in_range(grpc_block_refusal(block, "415", &status), 3 * GRPC_STATUS_MESSAGE_MAX,
                    GRPC_BLOCK_MAX);
}

/* As applications give them: none of it may break what is sent. */
static void test_a_status_is_copied_within_its_limits(void **state)
{
    CLEANUP_FREE char *text = alloc_zero(1, 2 * GRPC_STATUS_MESSAGE_MAX);
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, GRPC_STATUS_DETAILS_MAX + 1);
    const struct grpc_status large = { (enum grpc_code)4711, text, bytes,
                                       GRPC_STATUS_DETAILS_MAX + 1 };
    const struct grpc_status fits = { GRPC_ABORTED, NULL, bytes, GRPC_STATUS_DETAILS_MAX };

    (void)state;
    memset(text, 0xff, 2 * GRPC_STATUS_MESSAGE_MAX - 1);
    CLEANUP_GRPC_STATUS struct grpc_status cut = {}, whole = {};
    grpc_status_copy(&large, &cut);
    assert_int_equal(cut.code, GRPC_UNKNOWN);
    assert_in_range(strlen(cut.message), GRPC_STATUS_MESSAGE_MAX - 2, GRPC_STATUS_MESSAGE_MAX);
    assert_null(cut.details);
    grpc_status_copy(&fits, &whole);
    assert_int_equal(whole.code, GRPC_ABORTED);
    assert_null(whole.message);
    assert_int_equal(whole.n_details, GRPC_STATUS_DETAILS_MAX);
}

/* What is registered lives as long as the process. */
static int teardown(void **state)
{
    (void)state;
    grpc_status_set_recoverable_detail("", "", 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_an_errno_has_the_code_a_client_expects),
        FD_LEAK_TEST(test_no_errno_is_success_or_a_dying_plugin),
        FD_LEAK_TEST(test_a_failure_s_sentence_is_the_message),
        FD_LEAK_TEST(test_messages_are_made_utf8_and_cut_between_characters),
        FD_LEAK_TEST(test_a_recoverable_failure_carries_the_registered_detail),
        FD_LEAK_TEST(test_blocks_are_what_another_codec_reads),
        FD_LEAK_TEST(test_the_longest_status_fits_into_a_block),
        FD_LEAK_TEST(test_a_status_is_copied_within_its_limits),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
