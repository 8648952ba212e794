/* Metadata both ways, and ends with any status, by a peer that is not ours. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grpc_broker.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/call_transport.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

#define ENDS  "/test.Metadata/Ends"
#define UNARY "/test.Metadata/Unary"
#define GIVES "/test.Metadata/Gives"
#define BOTH  "/test.Metadata/Both"

static struct {
    struct grpc_status status;
    bool early; /* headers ahead of all else */
} wanted;

/* What came goes back: the initial, and the trailing key. */
static void echo_metadata(struct call *call)
{
    const struct grpc_metadatum *item;

    for (size_t i = 0; (item = call_metadata(call, "x-initial", i)) != NULL; i++)
        assert_int_equal(call_add_initial(call, item->key, item->value, item->n), 0);
    for (size_t i = 0; (item = call_metadata(call, "x-trailing-bin", i)) != NULL; i++)
        assert_int_equal(call_add_trailing(call, item->key, item->value, item->n), 0);
    if (wanted.early) {
        call_send_headers(call);
        assert_int_equal(call_add_initial(call, "x-late", "x", 1), -EALREADY);
    }
}

static void handle_ends(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    echo_metadata(call);
    call_end(call, &wanted.status);
}

static void handle_unary(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)context;
    echo_metadata(call);
    call_reply(call, request);
}

static void handle_gives(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)context;
    echo_metadata(call);
    call_send(call, request);
    call_send(call, request);
    call_finish(call);
}

static void on_both(struct call *call, const ProtobufCMessage *message, void *data)
{
    (void)data;
    if (message != NULL)
        call_send(call, message);
    else
        call_finish(call);
}

static void handle_both(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    echo_metadata(call);
    call_on_message(call, on_both);
}

#define METHOD(path_, kind_, handle_)                                                          \
    {                                                                                          \
        .path = (path_), .kind = (kind_), .handle = (handle_),                                 \
        .request = &plugin__conn_info__descriptor, .response = &plugin__conn_info__descriptor, \
    }

static const struct rpc_method methods[] = {
    METHOD(ENDS, RPC_UNARY, handle_ends),
    METHOD(UNARY, RPC_UNARY, handle_unary),
    METHOD(GIVES, RPC_SERVER_STREAM, handle_gives),
    METHOD(BOTH, RPC_BIDI_STREAM, handle_both),
    {},
};

static void init(struct rpc_fixture *f)
{
    memset(&wanted, 0, sizeof(wanted));
    rpc_fixture_init(f, methods, NULL);
}

static struct grpc_call *start(struct rpc_fixture *f, const char *path,
                               const char *const *metadata)
{
    static const Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    return grpc_peer_call(f->peer, &(struct grpc_request){ .path = path,
                                                           .message = &message.base,
                                                           .metadata = metadata });
}

/* --- metadata -------------------------------------------------------------------------------- */

static void test_metadata_goes_both_ways_in_calls_of_each_kind(void **state)
{
    static const char *const metadata[] = { "x-initial", "a value", "x-trailing-bin", "q6ur/w==",
                                            NULL };
    static const char *const paths[] = { ENDS, UNARY, GIVES, BOTH };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < 8; i++) {
        wanted.early = i >= 4;
        struct grpc_call *call = start(&f, paths[i % 4], metadata);
        grpc_call_expect(call, GRPC_OK, NULL);
        assert_string_equal(grpc_call_header(call, "x-initial"), "a value");
        assert_string_equal(grpc_call_header(call, "x-trailing-bin"), "q6ur/w");
        assert_int_equal(grpc_call_n_messages(call), i % 4 == 2 ? 2 : i % 4 > 0);
    }
    rpc_fixture_done(&f);
}

static void test_an_answer_without_messages_keeps_its_metadata(void **state)
{
    static const char *const metadata[] = { "x-trailing-bin", "AA,AQ", NULL };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    wanted.status.code = GRPC_DATA_LOSS;
    struct grpc_call *call = start(&f, ENDS, metadata);
    grpc_call_expect(call, GRPC_DATA_LOSS, NULL);
    assert_string_equal(grpc_call_header(call, "x-trailing-bin"), "AA");
    assert_int_equal(grpc_call_n_messages(call), 0);
    rpc_fixture_done(&f);
}

static void test_binary_metadata_that_is_not_base64_is_refused(void **state)
{
    static const char *const metadata[] = { "x-trailing-bin", "A", NULL };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, UNARY, metadata);
    grpc_call_expect(call, GRPC_INTERNAL, "malformed binary metadata");
    assert_string_equal(grpc_call_header(call, ":status"), "400");
    rpc_fixture_done(&f);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void test_a_call_ends_with_any_status(void **state)
{
    char message[] = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP "
                     "\xf0\x9f\x98\x88\t\n";
    uint8_t details[] = { 0, 1, 0xff };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    wanted.status = (struct grpc_status){ GRPC_UNKNOWN, message, details, sizeof(details) };
    struct grpc_call *call = start(&f, ENDS, NULL);
    grpc_call_expect(call, GRPC_UNKNOWN,
                     "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP "
                     "%F0%9F%98%88%09%0A");
    assert_string_equal(grpc_call_header(call, "grpc-status-details-bin"), "AAH/");
    for (unsigned code = 0; code < GRPC_CODE_MAX; code++) {
        wanted.status = (struct grpc_status){ .code = (enum grpc_code)code };
        grpc_call_expect(start(&f, ENDS, NULL), (int)code, NULL);
    }
    wanted.status.code = (enum grpc_code)-1;
    grpc_call_expect(start(&f, ENDS, NULL), GRPC_UNKNOWN, NULL);
    rpc_fixture_done(&f);
}

/* --- limits ---------------------------------------------------------------------------------- */

/* It is held as long as its call, so it counts with the messages that are. */
static void test_metadata_counts_as_held_in_memory(void **state)
{
    static char value[8000];
    const char *const metadata[] = { "x-initial", value, NULL };
    const size_t n_body = GRPC_WIRE_PREFIX_SIZE + GRPC_WIRE_MESSAGE_MAX - 1;
    CLEANUP_FREE uint8_t *body = alloc_zero(1, n_body);
    struct rpc_fixture f;

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    grpc_wire_prefix(body, GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    /* leaves room for one more of the largest messages */
    for (size_t i = 1; i < CALL_HELD_MAX / GRPC_WIRE_MESSAGE_MAX; i++)
        grpc_call_wait_sent(grpc_peer_call(
            f.peer,
            &(struct grpc_request){ .path = UNARY, .body = body, .n_body = n_body, .open = true }));
    const struct grpc_request request = { .path = UNARY, .open = true, .metadata = metadata };
    struct grpc_call *call = NULL;
    size_t n = 0;
    for (; n < 2000 && (call == NULL || !grpc_call_is_over(call)); n++) {
        call = grpc_peer_call(f.peer, &request);
        rpc_fixture_settle(&f);
    }
    assert_in_range(n, 400, GRPC_WIRE_MESSAGE_MAX / sizeof(value) + 2);
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     UNARY ": too many requests are held in memory");
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_metadata_goes_both_ways_in_calls_of_each_kind),
        FD_LEAK_TEST(test_an_answer_without_messages_keeps_its_metadata),
        FD_LEAK_TEST(test_binary_metadata_that_is_not_base64_is_refused),
        FD_LEAK_TEST(test_a_call_ends_with_any_status),
        FD_LEAK_TEST(test_metadata_counts_as_held_in_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
