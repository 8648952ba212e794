/* Requests to methods, and what a request gets that is not right. The client is libnghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grpc_broker.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

/* --- methods --------------------------------------------------------------------------------- */

static unsigned n_handled;

/* Answers where it was handled. */
static void answer(struct call *call, const ProtobufCMessage *request, const char *network,
                   const char *address)
{
    Plugin__ConnInfo reply = PLUGIN__CONN_INFO__INIT;

    n_handled++;
    reply.service_id = ((const Plugin__ConnInfo *)request)->service_id + 1;
    reply.network = network;
    reply.address = address;
    call_reply(call, &reply.base);
}

static void handle_one(struct call *call, const ProtobufCMessage *request, void *context)
{
    answer(call, request, "one", context);
}

static void handle_two(struct call *call, const ProtobufCMessage *request, void *context)
{
    answer(call, request, "two", context);
}

#define METHOD(path_, handle_)                                                                 \
    {                                                                                          \
        .path = (path_), .kind = RPC_UNARY, .handle = (handle_),                               \
        .request = &plugin__conn_info__descriptor, .response = &plugin__conn_info__descriptor, \
    }

static const struct rpc_method methods[] = {
    METHOD("/test.B/Two", handle_two),
    METHOD("/test.B/One", handle_one),
    {},
};

static const struct rpc_method more_methods[] = {
    METHOD("/test.A/Two", handle_two),
    METHOD("/test.C/One", handle_one),
    {},
};

static char context[] = "context", other_context[] = "other context";

static void init(struct rpc_fixture *f)
{
    n_handled = 0;
    rpc_fixture_init(f, methods, context);
    dispatch_add(f->dispatch, more_methods, other_context);
}

static void assert_handled(struct rpc_fixture *f, const char *path, const char *network,
                           const char *address)
{
    Plugin__ConnInfo request = PLUGIN__CONN_INFO__INIT;

    request.service_id = 7;
    struct grpc_call *call = rpc_fixture_call(f, path, &request.base);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_string_equal(grpc_call_header(call, ":status"), "200");
    assert_string_equal(grpc_call_header(call, "content-type"), "application/grpc");
    assert_int_equal(grpc_call_n_messages(call), 1);
    Plugin__ConnInfo *reply =
        (Plugin__ConnInfo *)grpc_call_message(call, 0, &plugin__conn_info__descriptor);
    assert_int_equal(reply->service_id, 8);
    assert_string_equal(reply->network, network);
    assert_string_equal(reply->address, address);
    plugin__conn_info__free_unpacked(reply, NULL);
}

static void test_each_path_has_its_handler_and_context(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    assert_handled(&f, "/test.B/One", "one", "context");
    assert_handled(&f, "/test.B/Two", "two", "context");
    assert_handled(&f, "/test.A/Two", "two", "other context");
    assert_handled(&f, "/test.C/One", "one", "other context");
    rpc_fixture_done(&f);
}

/* --- paths ----------------------------------------------------------------------------------- */

static const struct {
    const char *path, *message;
} paths[] = {
    { "/test.B/Three", "unknown method Three for service test.B" },
    { "/test.B/", "unknown method  for service test.B" },
    { "/test.B/one", "unknown method one for service test.B" },
    { "/test.A/One", "unknown method One for service test.A" },
    { "/test/One", "unknown service test" },
    { "/test.BB/One", "unknown service test.BB" },
    { "/test.B/One/", "unknown service test.B/One" },
    { "//One", "unknown service%20" },
    { "//", "unknown service%20" },
    { "/", "malformed method name" },
    { "/test.B", "malformed method name" },
    { "test.B/One", "malformed method name" },
    { "*", "malformed method name" },
    { "/test.B/One?x", "unknown method One?x for service test.B" },
    { "/100%/x", "unknown service 100%25" },
};

static void test_unknown_paths_are_unimplemented(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct grpc_call *call = rpc_fixture_call(&f, paths[i].path, NULL);

        grpc_call_expect(call, GRPC_UNIMPLEMENTED, paths[i].message);
        assert_string_equal(grpc_call_header(call, ":status"), "200");
    }
    assert_int_equal(n_handled, 0);
    rpc_fixture_done(&f);
}

static void test_a_path_as_long_as_can_be_is_refused_with_a_part_of_it(void **state)
{
    CLEANUP_FREE char *path = alloc_zero(1, 16001);
    struct rpc_fixture f;

    (void)state;
    memset(path, 'x', 16000);
    path[0] = '/';
    path[8000] = '/';
    init(&f);
    struct grpc_call *call = rpc_fixture_call(&f, path, NULL);
    grpc_call_wait(call);
    assert_string_equal(grpc_call_header(call, "grpc-status"), "12");
    assert_int_equal(strlen(grpc_call_header(call, "grpc-message")), GRPC_STATUS_MESSAGE_MAX);
    rpc_fixture_done(&f);
}

static void test_without_any_method_all_is_unknown(void **state)
{
    static const struct rpc_method none[] = { {} };
    struct rpc_fixture f;

    (void)state;
    rpc_fixture_init(&f, none, NULL);
    grpc_call_expect(rpc_fixture_call(&f, "/test.B/One", NULL), GRPC_UNIMPLEMENTED,
                     "unknown service test.B");
    rpc_fixture_done(&f);
}

/* --- headers --------------------------------------------------------------------------------- */

static const struct {
    struct grpc_request request;
    const char *http_status;
    int code;
    const char *message;
} headers[] = {
    { { .content_type = "application/grpc+proto" }, "200", GRPC_OK, NULL },
    { { .content_type = "application/grpc;x=y" }, "200", GRPC_OK, NULL },
    { { .encoding = "identity" }, "200", GRPC_OK, NULL },
    { { .timeout = "10S" }, "200", GRPC_OK, NULL },
    { { .timeout = "99999999H" }, "200", GRPC_OK, NULL },
    { { .method = "GET" }, "405", GRPC_INTERNAL, "the method of a gRPC request is POST" },
    { { .method = "post" }, "405", GRPC_INTERNAL, "the method of a gRPC request is POST" },
    { { .content_type = "" }, "415", GRPC_INTERNAL,
      "the content-type of a gRPC request is application/grpc" },
    { { .content_type = "application/json" }, "415", GRPC_INTERNAL,
      "the content-type of a gRPC request is application/grpc" },
    { { .content_type = "application/grpc+json" }, "415", GRPC_INTERNAL,
      "the content-type of a gRPC request is application/grpc" },
    { { .te = "" }, "400", GRPC_INTERNAL, "a gRPC request has 'te: trailers'" },
    { { .timeout = "10" }, "400", GRPC_INTERNAL, "malformed grpc-timeout" },
    { { .timeout = "1 S" }, "400", GRPC_INTERNAL, "malformed grpc-timeout" },
    { { .timeout = "123456789S" }, "400", GRPC_INTERNAL, "malformed grpc-timeout" },
    { { .encoding = "gzip" }, "200", GRPC_UNIMPLEMENTED,
      "the request is compressed, only identity is supported" },
    /* of several faults the first of these is told */
    { { .method = "PUT", .content_type = "text/plain", .te = "" }, "405", GRPC_INTERNAL,
      "the method of a gRPC request is POST" },
    { { .path = "/x/y", .timeout = "x" }, "400", GRPC_INTERNAL, "malformed grpc-timeout" },
};

static void test_headers_must_be_those_of_grpc(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct grpc_request request = headers[i].request;

        if (request.path == NULL)
            request.path = "/test.B/One";
        request.body = "\0\0\0\0\0";
        request.n_body = 5;
        n_handled = 0;
        struct grpc_call *call = grpc_peer_call(f.peer, &request);
        grpc_call_expect(call, headers[i].code, headers[i].message);
        assert_string_equal(grpc_call_header(call, ":status"), headers[i].http_status);
        assert_string_equal(grpc_call_header(call, "allow"),
                            strcmp(headers[i].http_status, "405") == 0 ? "POST" : "");
        assert_string_equal(grpc_call_header(call, "grpc-accept-encoding"),
                            headers[i].code == GRPC_UNIMPLEMENTED ? "identity" : "");
        assert_int_equal(n_handled, headers[i].code == GRPC_OK);
    }
    rpc_fixture_done(&f);
}

/* --- bodies ---------------------------------------------------------------------------------- */

static const struct {
    const char *body;
    size_t n;
    int code;
    const char *message; /* after the path */
} bodies[] = {
    { BYTES("\0\0\0\0\0"), GRPC_OK, NULL },
    { BYTES("\0\0\0\0\2\x08\7"), GRPC_OK, NULL },
    { BYTES("\0\0\0\0\3\x78\7\0"), GRPC_INVALID_ARGUMENT,
      ": the request is not a message of its type" }, /* ends within a field */
    { BYTES("\0\0\0\0\1\x08"), GRPC_INVALID_ARGUMENT,
      ": the request is not a message of its type" },
    { BYTES("\0\0\0\0\3\x0a\1x"), GRPC_INVALID_ARGUMENT,
      ": the request is not a message of its type" }, /* a string for a number */
    { BYTES(""), GRPC_INTERNAL, ": the request has no message" },
    { BYTES("\0\0\0"), GRPC_INTERNAL, ": the request ends within its message" },
    { BYTES("\0\0\0\0\2\x08"), GRPC_INTERNAL, ": the request ends within its message" },
    { BYTES("\0\0\0\0\0\0"), GRPC_INTERNAL, ": more than one message in the request" },
    { BYTES("\0\0\0\0\2\x08\7\0\0\0\0\0"), GRPC_INTERNAL,
      ": more than one message in the request" },
    { BYTES("\1\0\0\0\0"), GRPC_INTERNAL,
      ": the compressed flag is set, and grpc-encoding is none or identity" },
    { BYTES("\2\0\0\0\0"), GRPC_INTERNAL, ": the request's length prefix has an unknown flag" },
    { BYTES("\0\0\100\0\1"), GRPC_RESOURCE_EXHAUSTED, ": the request is larger than 4 MiB" },
    { BYTES("\0\377\377\377\377xxx"), GRPC_RESOURCE_EXHAUSTED,
      ": the request is larger than 4 MiB" },
};

static void assert_body_refused(struct grpc_call *call, size_t row)
{
    CLEANUP_FREE char *message =
        bodies[row].message != NULL ? alloc_printf("/test.B/One%s", bodies[row].message) : NULL;

    grpc_call_expect(call, bodies[row].code, message);
    assert_int_equal(n_handled, bodies[row].code == GRPC_OK);
}

static void test_bodies_must_hold_one_message(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t row = 0; row < sizeof(bodies) / sizeof(bodies[0]); row++) {
        n_handled = 0;
        struct grpc_call *call = grpc_peer_call(
            f.peer, &(struct grpc_request){
                        .path = "/test.B/One", .body = bodies[row].body, .n_body = bodies[row].n });
        assert_body_refused(call, row);
    }
    rpc_fixture_done(&f);
}

/* Every split: in two pieces, between which the server has its turn. */
static void test_bodies_in_pieces_are_understood_alike(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t row = 0; row < sizeof(bodies) / sizeof(bodies[0]); row++)
        for (size_t cut = 1; cut < bodies[row].n; cut++) {
            n_handled = 0;
            struct grpc_call *call = grpc_peer_call(
                f.peer, &(struct grpc_request){ .path = "/test.B/One",
                                                .body = bodies[row].body,
                                                .n_body = cut,
                                                .open = true });
            rpc_fixture_settle(&f);
            if (!grpc_call_is_over(call))
                grpc_call_send(call, bodies[row].body + cut, bodies[row].n - cut, true);
            assert_body_refused(call, row);
        }
    rpc_fixture_done(&f);
}

/* A refused request need not be read to its end. */
static void test_a_refusal_does_not_wait_for_the_body(void **state)
{
    static const struct grpc_request requests[] = {
        { .path = "/x/y", .open = true },
        { .path = "/test.B/One", .content_type = "application/grpc+json", .open = true },
        { .path = "/test.B/One", .encoding = "gzip", .open = true },
    };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct grpc_call *call = grpc_peer_call(f.peer, &requests[i]);

        grpc_call_wait(call);
        assert_string_not_equal(grpc_call_header(call, "grpc-status"), "");
        assert_int_equal(grpc_call_error(call), 0);
    }
    rpc_fixture_done(&f);
}

/* What is wrong with plain HTTP may show at its end only, and its user is to read something. */
static void test_plain_http_is_refused_with_a_text_when_it_is_whole(void **state)
{
    static const struct {
        struct grpc_request request;
        const char *http_status, *text;
    } rows[] = {
        { { .path = "/test.B/One", .method = "PUT", .open = true }, "405",
          "the method of a gRPC request is POST" },
        { { .path = "/test.B/One", .content_type = "text/plain", .open = true }, "415",
          "the content-type of a gRPC request is application/grpc" },
    };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct grpc_call *call = grpc_peer_call(f.peer, &rows[i].request);
        grpc_call_send(call, "x", 1, false);
        rpc_fixture_settle(&f);
        assert_string_equal(grpc_call_header(call, ":status"), "");
        grpc_call_send(call, "y", 1, true);
        grpc_call_expect(call, GRPC_INTERNAL, rows[i].text);
        assert_string_equal(grpc_call_header(call, ":status"), rows[i].http_status);
        assert_string_equal(grpc_call_header(call, "content-type"), "text/plain; charset=utf-8");
        assert_int_equal(grpc_call_n_bytes(call), strlen(rows[i].text));

        /* One that is given up, and one that goes with the connection. */
        call = grpc_peer_call(f.peer, &rows[i].request);
        rpc_fixture_settle(&f);
        grpc_call_cancel(call);
        (void)grpc_peer_call(f.peer, &rows[i].request);
        rpc_fixture_settle(&f);
    }
    assert_int_equal(n_handled, 0);
    rpc_fixture_done(&f);
}

static void test_the_largest_request_is_taken(void **state)
{
    struct rpc_fixture f;
    Plugin__ConnInfo request = PLUGIN__CONN_INFO__INIT;
    CLEANUP_FREE char *network = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX);

    (void)state;
    memset(network, 'x', GRPC_WIRE_MESSAGE_MAX - 5);
    request.network = network;
    assert_int_equal(plugin__conn_info__get_packed_size(&request), GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    grpc_call_expect(rpc_fixture_call(&f, "/test.B/One", &request.base), GRPC_OK, NULL);
    request.service_id = 1; /* two bytes more */
    grpc_call_expect(rpc_fixture_call(&f, "/test.B/One", &request.base), GRPC_RESOURCE_EXHAUSTED,
                     "/test.B/One: the request is larger than 4 MiB");
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_each_path_has_its_handler_and_context),
        FD_LEAK_TEST(test_unknown_paths_are_unimplemented),
        FD_LEAK_TEST(test_a_path_as_long_as_can_be_is_refused_with_a_part_of_it),
        FD_LEAK_TEST(test_without_any_method_all_is_unknown),
        FD_LEAK_TEST(test_headers_must_be_those_of_grpc),
        FD_LEAK_TEST(test_bodies_must_hold_one_message),
        FD_LEAK_TEST(test_bodies_in_pieces_are_understood_alike),
        FD_LEAK_TEST(test_a_refusal_does_not_wait_for_the_body),
        FD_LEAK_TEST(test_plain_http_is_refused_with_a_text_when_it_is_whole),
        FD_LEAK_TEST(test_the_largest_request_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
