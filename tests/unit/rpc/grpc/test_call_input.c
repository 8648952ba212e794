/* Calls that take a stream of messages, or take and give them. */
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
#include "rpc/grpc/grpc_status.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

#define TAKES "/test.Stream/Takes"
#define BOTH  "/test.Stream/Both"
#define SLOW  "/test.Stream/Slow"
#define STUCK "/test.Stream/Stuck"

#define BYTES(literal) (literal), sizeof(literal) - 1

static struct {
    struct call *call; /* NULL: none, or over */
    unsigned n_messages, n_half_closes, n_cancelled;
    unsigned sum;     /* of the messages' ids */
    unsigned ends_at; /* ends the call at this message; 0: at the half close */
    bool is_paused;
    bool is_idle;     /* does nothing at the half close */
} seen;

static void on_cancel(struct call *call, void *data)
{
    assert_ptr_equal(seen.call, call);
    assert_ptr_equal(data, &seen);
    seen.call = NULL;
    seen.n_cancelled++;
}

static void keep(struct call *call)
{
    seen.call = call;
    call_set_data(call, &seen);
}

static void on_taken(struct call *call, const ProtobufCMessage *message, void *data)
{
    assert_ptr_equal(seen.call, call);
    assert_ptr_equal(data, &seen);
    assert_int_equal(seen.n_half_closes, 0);
    if (message != NULL) {
        seen.n_messages++;
        seen.sum += ((const Plugin__ConnInfo *)message)->service_id;
    } else {
        seen.n_half_closes++;
    }
    if (message == NULL ? seen.ends_at == 0 && !seen.is_idle : seen.n_messages == seen.ends_at)
        rpc_reply(TAKE_PTR(seen.call), seen.sum, NULL);
}

static void handle_takes(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)context;
    assert_null(request);
    assert_null(call_request(call));
    keep(call);
    call_on_message(call, on_taken);
}

/* Answers each message, and the half close by the end. */
static void on_both(struct call *call, const ProtobufCMessage *message, void *data)
{
    (void)data;
    if (message != NULL)
        rpc_send(call, 10 * ((const Plugin__ConnInfo *)message)->service_id, NULL);
    else
        call_finish(TAKE_PTR(seen.call));
}

static void handle_both(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    keep(call);
    call_on_message(call, on_both);
}

/* Takes one message, and no more until the test resumes it. */
static void on_slow(struct call *call, const ProtobufCMessage *message, void *data)
{
    assert_false(seen.is_paused);
    on_taken(call, message, data);
    if (message == NULL)
        return;
    if (seen.call != NULL)
        call_pause(call);
    seen.is_paused = seen.call != NULL;
}

static void handle_slow(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    keep(call);
    call_on_message(call, on_slow);
}

/* Never resumes. */
static void on_stuck(struct call *call, const ProtobufCMessage *message, void *data)
{
    (void)data;
    assert_non_null(message);
    seen.n_messages++;
    call_pause(call);
}

static void on_stuck_cancel(struct call *call, void *data)
{
    (void)call;
    (void)data;
    seen.n_cancelled++;
}

static void handle_stuck(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    call_on_message(call, on_stuck);
}

#define METHOD(path_, kind_, handle_, cancel_)                                                 \
    {                                                                                          \
        .path = (path_), .kind = (kind_), .handle = (handle_), .cancel = (cancel_),            \
        .request = &plugin__conn_info__descriptor, .response = &plugin__conn_info__descriptor, \
    }

static const struct rpc_method methods[] = {
    METHOD(TAKES, RPC_CLIENT_STREAM, handle_takes, on_cancel),
    METHOD(BOTH, RPC_BIDI_STREAM, handle_both, on_cancel),
    METHOD(SLOW, RPC_CLIENT_STREAM, handle_slow, on_cancel),
    METHOD(STUCK, RPC_BIDI_STREAM, handle_stuck, on_stuck_cancel),
    {},
};

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, methods, NULL);
}

static struct grpc_call *open_call(struct rpc_fixture *f, const char *path)
{
    struct grpc_call *call =
        grpc_peer_call(f->peer, &(struct grpc_request){ .path = path, .open = true });

    rpc_fixture_settle(f);
    return call;
}

static void put_id(struct grpc_call *call, uint32_t id, bool end)
{
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    message.service_id = id;
    grpc_call_send_message(call, &message.base, end);
}

/* --- streams of requests --------------------------------------------------------------------- */

static void test_a_client_s_stream_is_answered_at_its_end(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = open_call(&f, TAKES);
    assert_non_null(seen.call); /* from its opening on */
    put_id(call, 1, false);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_messages, 1);
    put_id(call, 20, false);
    put_id(call, 300, true);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(seen.n_messages, 3);
    assert_int_equal(seen.n_half_closes, 1);
    assert_int_equal(rpc_answer_id(call, 0), 321);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

static void test_a_client_s_stream_without_messages_ends_too(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_fixture_call(&f, TAKES, NULL);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(seen.n_messages, 0);
    assert_int_equal(rpc_answer_id(call, 0), 0);
    rpc_fixture_done(&f);
}

/* Every split of three messages: two pieces, between which the server has its turn. */
static void test_messages_in_pieces_are_the_same_messages(void **state)
{
    static const char body[] = "\0\0\0\0\2\x08\1\0\0\0\0\0\0\0\0\0\2\x08\7";
    struct rpc_fixture f;

    (void)state;
    for (size_t cut = 0; cut < sizeof(body); cut++) {
        init(&f);
        struct grpc_call *call = grpc_peer_call(
            f.peer,
            &(struct grpc_request){ .path = TAKES, .body = body, .n_body = cut, .open = true });
        rpc_fixture_settle(&f);
        grpc_call_send(call, body + cut, sizeof(body) - 1 - cut, true);
        grpc_call_expect(call, GRPC_OK, NULL);
        assert_int_equal(seen.n_messages, 3);
        assert_int_equal(rpc_answer_id(call, 0), 8);
        rpc_fixture_done(&f);
    }
}

/* From inside the hook, in the middle of what has arrived: the rest is dropped. */
static void test_a_stream_may_be_answered_before_its_end(void **state)
{
    static const char body[] = "\0\0\0\0\2\x08\1\0\0\0\0\2\x08\2\0\0\0\0\2\x08\3";
    struct rpc_fixture f;

    (void)state;
    for (unsigned ends_at = 1; ends_at <= 3; ends_at++)
        for (unsigned open = 0; open <= 1; open++) {
            init(&f);
            seen.ends_at = ends_at;
            struct grpc_call *call = grpc_peer_call(
                f.peer,
                &(struct grpc_request){
                    .path = TAKES, .body = body, .n_body = sizeof(body) - 1, .open = open });
            grpc_call_expect(call, GRPC_OK, NULL);
            assert_int_equal(seen.n_messages, ends_at);
            assert_int_equal(rpc_answer_id(call, 0), ends_at * (ends_at + 1) / 2);
            rpc_fixture_done(&f);
            assert_int_equal(seen.n_cancelled, 0);
        }
}

static const struct {
    const char *body;
    size_t n;
    int code;
    const char *message;
    unsigned n_messages;
} faults[] = {
    { BYTES("\0\0\0\0\2\x08\1\0\0\0"), GRPC_INTERNAL,
      "/test.Stream/Takes: the request ends within a message", 1 },
    { BYTES("\0\0\0\0\2\x08\1\0\0\0\0\2\x08"), GRPC_INTERNAL,
      "/test.Stream/Takes: the request ends within a message", 1 },
    { BYTES("\0\0\0\0\2\x08\1\0\0\0\0\1\x08\0\0\0\0\2\x08\1"), GRPC_INVALID_ARGUMENT,
      "/test.Stream/Takes: the request is not a message of its type", 1 },
    { BYTES("\0\0\0\0\2\x08\1\1\0\0\0\0"), GRPC_INTERNAL,
      "/test.Stream/Takes: the compressed flag is set, and grpc-encoding is none or identity", 1 },
    { BYTES("\0\0\100\0\1"), GRPC_RESOURCE_EXHAUSTED,
      "/test.Stream/Takes: the request is larger than 4 MiB", 0 },
};

/* The handler, which has the call since it was opened, is told. */
static void test_a_fault_in_a_stream_ends_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct rpc_fixture f;

        init(&f);
        struct grpc_call *call = grpc_peer_call(
            f.peer, &(struct grpc_request){
                        .path = TAKES, .body = faults[i].body, .n_body = faults[i].n });
        grpc_call_expect(call, faults[i].code, faults[i].message);
        assert_int_equal(seen.n_messages, faults[i].n_messages);
        assert_int_equal(seen.n_cancelled, 1);
        rpc_fixture_done(&f);
    }
}

static void test_a_stream_lost_in_each_of_its_states_is_told_once(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 4; step++) {
        struct rpc_fixture f;

        init(&f);
        seen.is_idle = true;
        struct grpc_call *call = open_call(&f, TAKES);
        if (step == 1)
            put_id(call, 1, false);
        if (step == 2)
            grpc_call_send(call, "\0\0\0", 3, false);
        if (step == 3)
            put_id(call, 1, true);
        rpc_fixture_settle(&f);
        assert_int_equal(seen.n_cancelled, 0);
        rpc_fixture_done(&f);
        assert_int_equal(seen.n_cancelled, 1);
        assert_int_equal(seen.n_half_closes, step == 3);
    }
}

/* --- both ways ------------------------------------------------------------------------------- */

static void test_both_ways_at_once(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = open_call(&f, BOTH);
    assert_string_equal(grpc_call_header(call, ":status"), "200");
    for (unsigned i = 1; i <= 3; i++) {
        put_id(call, i, false);
        grpc_call_wait_messages(call, i);
        assert_int_equal(rpc_answer_id(call, i - 1), 10 * i);
    }
    grpc_call_send(call, "", 0, true);
    grpc_call_expect(call, GRPC_OK, NULL);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

/* Unasked and from elsewhere, while the peer has not said all. */
static void test_a_stream_both_ways_may_be_ended_by_the_handler(void **state)
{
    struct rpc_fixture f;
    const struct fail fail = { .error = -ENOENT };

    (void)state;
    init(&f);
    struct grpc_call *call = open_call(&f, BOTH);
    put_id(call, 1, false);
    grpc_call_wait_messages(call, 1);
    call_fail(TAKE_PTR(seen.call), &fail);
    grpc_call_expect(call, GRPC_NOT_FOUND, "No such file or directory");
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

/* --- slow handlers --------------------------------------------------------------------------- */

static void resume(struct rpc_fixture *f)
{
    seen.is_paused = false;
    call_resume(seen.call);
    assert_false(seen.is_paused); /* nothing is told before it returns */
    event_run_pending(f->event);
}

static void test_a_paused_handler_is_told_one_message_a_resume(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = open_call(&f, SLOW);
    for (unsigned i = 1; i <= 4; i++)
        put_id(call, i, i == 4);
    rpc_fixture_settle(&f);
    for (unsigned n = 1; n <= 4; n++) {
        assert_int_equal(seen.n_messages, n);
        assert_true(seen.is_paused);
        assert_int_equal(seen.n_half_closes, 0);
        rpc_fixture_settle(&f);
        assert_int_equal(seen.n_messages, n);
        resume(&f);
    }
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(rpc_answer_id(call, 0), 10);
    rpc_fixture_done(&f);
}

/* Every cut of what is put aside, and of what comes when some is. */
static void test_what_comes_in_pieces_while_paused_is_told_in_order(void **state)
{
    static const char bytes[] = "\0\0\0\0\2\x08\1\0\0\0\0\2\x08\2\0\0\0\0\2\x08\3";
    const size_t n = sizeof(bytes) - 1;
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t cut = 1; cut < n; cut++) {
        memset(&seen, 0, sizeof(seen));
        struct grpc_call *call = open_call(&f, SLOW);
        grpc_call_send(call, bytes, cut, false);
        rpc_fixture_settle(&f);
        if (seen.is_paused && cut % 2 == 0)
            resume(&f);
        grpc_call_send(call, bytes + cut, n - cut, true);
        rpc_fixture_settle(&f);
        while (seen.is_paused)
            resume(&f);
        grpc_call_expect(call, GRPC_OK, NULL);
        assert_int_equal(seen.n_messages, 3);
        assert_int_equal(rpc_answer_id(call, 0), 6);
    }
    rpc_fixture_done(&f);
}

/* It has to wait, and nobody else has. */
static void test_a_paused_handler_stalls_its_sender_and_no_other(void **state)
{
    const size_t n_body = 4 * H2_STREAM_WINDOW / 5 * 5;
    CLEANUP_FREE uint8_t *body = alloc_zero(1, n_body);
    struct rpc_fixture f;
    struct grpc_call *calls[2 + H2_CONN_WINDOW / H2_STREAM_WINDOW];
    const size_t n_calls = sizeof(calls) / sizeof(calls[0]);

    (void)state;
    init(&f);
    for (size_t i = 0; i < n_calls; i++) {
        calls[i] = open_call(&f, STUCK);
        grpc_call_send(calls[i], body, n_body, true); /* empty messages */
        rpc_fixture_settle(&f);
        assert_int_equal(seen.n_messages, i + 1);
        assert_in_range(grpc_call_n_unsent(calls[i]), n_body - H2_STREAM_WINDOW - 10, n_body);
    }
    /* more is held up than the connection's window, and of that all is left */
    struct grpc_call *other = open_call(&f, BOTH);
    put_id(other, 7, true);
    grpc_call_expect(other, GRPC_OK, NULL);
    assert_int_equal(rpc_answer_id(other, 0), 70);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, n_calls);
}

static void test_a_paused_call_ends_in_any_way(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    /* by the handler */
    struct grpc_call *call = open_call(&f, SLOW);
    put_id(call, 1, false);
    put_id(call, 2, false);
    rpc_fixture_settle(&f);
    call_resume(seen.call);
    rpc_reply(TAKE_PTR(seen.call), 0, NULL);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(seen.n_messages, 1);
    /* by the peer, twice: paused, and when about to go on */
    for (unsigned i = 0; i < 2; i++) {
        memset(&seen, 0, sizeof(seen));
        call = open_call(&f, SLOW);
        put_id(call, 1, false);
        put_id(call, 2, true);
        rpc_fixture_settle(&f);
        grpc_call_cancel(call);
        if (i == 1) {
            seen.is_paused = false;
            call_resume(seen.call);
        }
        rpc_fixture_settle(&f);
        assert_int_equal(seen.n_cancelled, 1);
    }
    /* by the handler, at a message that had been put aside */
    memset(&seen, 0, sizeof(seen));
    seen.ends_at = 2;
    call = open_call(&f, SLOW);
    for (unsigned i = 0; i < 3; i++)
        put_id(call, 1, false);
    rpc_fixture_settle(&f);
    resume(&f);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(seen.n_messages, 2);
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_client_s_stream_is_answered_at_its_end),
        FD_LEAK_TEST(test_a_client_s_stream_without_messages_ends_too),
        FD_LEAK_TEST(test_messages_in_pieces_are_the_same_messages),
        FD_LEAK_TEST(test_a_stream_may_be_answered_before_its_end),
        FD_LEAK_TEST(test_a_fault_in_a_stream_ends_it),
        FD_LEAK_TEST(test_a_stream_lost_in_each_of_its_states_is_told_once),
        FD_LEAK_TEST(test_both_ways_at_once),
        FD_LEAK_TEST(test_a_stream_both_ways_may_be_ended_by_the_handler),
        FD_LEAK_TEST(test_a_paused_handler_is_told_one_message_a_resume),
        FD_LEAK_TEST(test_what_comes_in_pieces_while_paused_is_told_in_order),
        FD_LEAK_TEST(test_a_paused_handler_stalls_its_sender_and_no_other),
        FD_LEAK_TEST(test_a_paused_call_ends_in_any_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
