/* The life of unary calls: the ends, cancellation, deadlines, connections that are lost. */
#include <errno.h>
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
#include "rpc/call_transport.h"
#include "rpc/grpc_status.h"
#include "rpc/grpc_wire.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc_fixture.h"

#define HOOKED   "/test.Call/Hooked"
#define HOOKLESS "/test.Call/Hookless"
#define CALLS_MAX 64

/* What the handlers were given, in order, and what became of it. */
static struct {
    struct call *calls[CALLS_MAX]; /* NULL: ended or cancelled */
    size_t n_calls, n_cancelled;
    /* In its cancel hook a call ends this one too. */
    struct call *also;
} seen;

static void on_cancel(struct call *call, void *data)
{
    struct call **place = data;

    assert_ptr_equal(*place, call);
    assert_ptr_equal(call_data(call), data);
    *place = NULL;
    seen.n_cancelled++;
    if (seen.also != NULL)
        call_finish(TAKE_PTR(seen.also));
}

static void keep(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct call **place = &seen.calls[seen.n_calls++];

    (void)context;
    assert_ptr_equal(call_request(call), request);
    assert_null(call_data(call));
    *place = call;
    call_set_data(call, place);
}

#define METHOD(path_, cancel_)                                                         \
    {                                                                                  \
        .path = (path_), .kind = RPC_UNARY, .request = &plugin__conn_info__descriptor, \
        .response = &plugin__conn_info__descriptor, .handle = keep, .cancel = (cancel_), \
    }

static const struct rpc_method methods[] = {
    METHOD(HOOKED, on_cancel),
    METHOD(HOOKLESS, NULL),
    {},
};

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, methods, NULL);
}

static struct grpc_call *start(struct rpc_fixture *f, const char *path)
{
    Plugin__ConnInfo request = PLUGIN__CONN_INFO__INIT;

    request.address = "here";
    return rpc_fixture_call(f, path, &request.base);
}

/* The handler's. */
static struct call *wait_handled(struct rpc_fixture *f, size_t i)
{
    rpc_fixture_settle(f);
    assert_true(i < seen.n_calls && seen.calls[i] != NULL);
    return seen.calls[i];
}

static void reply(struct call *call, const char *address)
{
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    message.address = address;
    call_reply(call, &message.base);
}

static void assert_replied(struct grpc_call *call, const char *address)
{
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 1);
    Plugin__ConnInfo *message =
        (Plugin__ConnInfo *)grpc_call_message(call, 0, &plugin__conn_info__descriptor);
    assert_string_equal(message->address, address);
    plugin__conn_info__free_unpacked(message, NULL);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void test_calls_are_answered_later_and_in_any_order(void **state)
{
    struct rpc_fixture f;
    struct grpc_call *calls[3];

    (void)state;
    init(&f);
    for (size_t i = 0; i < 3; i++)
        calls[i] = start(&f, HOOKED);
    (void)wait_handled(&f, 2);
    assert_false(grpc_call_is_over(calls[0]));
    reply(seen.calls[1], "one");
    assert_replied(calls[1], "one");
    reply(seen.calls[2], "two");
    reply(seen.calls[0], "zero");
    assert_replied(calls[0], "zero");
    assert_replied(calls[2], "two");
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0); /* exactly one end each */
}

/* It lives as long as its call, for handlers that take long. */
static void test_a_request_lives_until_its_answer(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, HOOKED);
    const Plugin__ConnInfo *request = (const Plugin__ConnInfo *)call_request(wait_handled(&f, 0));
    assert_string_equal(request->address, "here");
    reply(seen.calls[0], request->address);
    assert_replied(call, "here");
    rpc_fixture_done(&f);
}

static void test_a_failure_is_told_with_code_and_sentence(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, HOOKED);
    fail_set(&fail, -ENOENT, "image '%s' is not there", "a%b");
    call_fail(wait_handled(&f, 0), &fail);
    grpc_call_expect(call, GRPC_NOT_FOUND, "image 'a%25b' is not there");
    assert_int_equal(grpc_call_n_messages(call), 0);
    assert_string_equal(grpc_call_header(call, "grpc-status-details-bin"), "");
    rpc_fixture_done(&f);
}

static void test_a_failure_without_a_sentence_has_that_of_its_errno(void **state)
{
    struct rpc_fixture f;
    const struct fail fail = { .error = -EEXIST };

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, HOOKED);
    call_fail(wait_handled(&f, 0), &fail);
    grpc_call_expect(call, GRPC_ALREADY_EXISTS, "File exists");
    rpc_fixture_done(&f);
}

static void test_an_answer_that_is_too_large_is_a_failure(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FREE char *address = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX + 1);

    (void)state;
    memset(address, 'x', GRPC_WIRE_MESSAGE_MAX - 5);
    init(&f);
    struct grpc_call *fits = start(&f, HOOKED);
    reply(wait_handled(&f, 0), address);
    grpc_call_expect(fits, GRPC_OK, NULL);
    address[GRPC_WIRE_MESSAGE_MAX - 5] = 'x';
    struct grpc_call *call = start(&f, HOOKED);
    reply(wait_handled(&f, 1), address);
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Call/Hooked: the answer is larger than 4 MiB");
    event_run_pending(f.event);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

/* --- cancellation ---------------------------------------------------------------------------- */

static void test_a_cancelled_call_is_told_once(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, HOOKED), *other = start(&f, HOOKED);
    (void)wait_handled(&f, 1);
    grpc_call_cancel(call);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_cancelled, 1);
    assert_null(seen.calls[0]);
    reply(seen.calls[1], "still here");
    assert_replied(other, "still here");
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 1);
}

/* Without a hook the work is done to its end, and the answer dropped. */
static void test_a_late_answer_of_a_cancelled_call_is_dropped(void **state)
{
    struct rpc_fixture f;
    const struct fail fail = { .error = -EIO };

    (void)state;
    init(&f);
    struct grpc_call *calls[3];
    for (size_t i = 0; i < 3; i++)
        calls[i] = start(&f, HOOKLESS);
    (void)wait_handled(&f, 2);
    for (size_t i = 0; i < 3; i++)
        grpc_call_cancel(calls[i]);
    rpc_fixture_settle(&f);
    const Plugin__ConnInfo *request = (const Plugin__ConnInfo *)call_request(seen.calls[0]);
    assert_string_equal(request->address, "here");
    assert_int_equal(call_queued_bytes(seen.calls[0]), 0);
    reply(seen.calls[0], "late");
    call_fail(seen.calls[1], &fail);
    call_finish(seen.calls[2]);
    rpc_fixture_settle(&f);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(grpc_call_n_bytes(calls[i]), 0);
    rpc_fixture_done(&f);
}

static void test_a_cancel_before_the_request_is_whole_never_reaches_the_handler(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = grpc_peer_call(
        f.peer,
        &(struct grpc_request){ .path = HOOKED, .body = "\0\0\0\0\5he", .n_body = 7, .open = true });
    rpc_fixture_settle(&f);
    grpc_call_cancel(call);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_calls, 0);
    rpc_fixture_done(&f);
}

/* A peer that vanishes in the middle of calls: each is told, those without a hook go on inert. */
static void test_a_lost_connection_cancels_all_its_calls(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    for (size_t i = 0; i < 3; i++)
        (void)grpc_peer_call(
            peer, &(struct grpc_request){
                      .path = i == 2 ? HOOKLESS : HOOKED, .body = "\0\0\0\0\0", .n_body = 5 });
    (void)grpc_peer_call(peer, &(struct grpc_request){ .path = HOOKED, .open = true });
    rpc_fixture_wait_conns(&f, 2);
    while (seen.n_calls < 3)
        assert_true(sd_event_run(f.event, EVENT_DEADLINE_USEC) > 0);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(seen.n_cancelled, 2);
    reply(seen.calls[2], "to nobody");
    rpc_fixture_done(&f);
}

/* Hooks may end other calls, of the same connection too. */
static void test_a_cancel_hook_may_end_another_call(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, HOOKED), *other = start(&f, HOOKED);
    (void)wait_handled(&f, 1);
    seen.also = TAKE_PTR(seen.calls[1]);
    grpc_call_cancel(call);
    grpc_call_expect(other, GRPC_OK, NULL);
    assert_int_equal(seen.n_cancelled, 1);

    (void)start(&f, HOOKED);
    (void)start(&f, HOOKED);
    (void)wait_handled(&f, 3);
    seen.also = TAKE_PTR(seen.calls[2]); /* the server tells the last one first */
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 2);
    assert_null(seen.also);
}

/* --- deadlines ------------------------------------------------------------------------------- */

static struct grpc_call *start_with_timeout(struct rpc_fixture *f, const char *path,
                                            const char *timeout)
{
    return grpc_peer_call(f->peer, &(struct grpc_request){ .path = path,
                                                           .timeout = timeout,
                                                           .body = "\0\0\0\0\0",
                                                           .n_body = 5 });
}

static void test_a_call_ends_at_its_deadline(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    grpc_call_expect(start_with_timeout(&f, HOOKED, "20m"), GRPC_DEADLINE_EXCEEDED,
                     "/test.Call/Hooked: the caller's deadline has passed");
    assert_int_equal(seen.n_cancelled, 1);
    grpc_call_expect(start_with_timeout(&f, HOOKLESS, "20m"), GRPC_DEADLINE_EXCEEDED,
                     "/test.Call/Hookless: the caller's deadline has passed");
    reply(seen.calls[1], "too late");
    rpc_fixture_settle(&f);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 1);
}

/* The handler may have been called or not; either way the call ends once. */
static void test_a_deadline_that_has_passed_already_ends_the_call(void **state)
{
    static const char *const timeouts[] = { "0S", "1n", "1u" };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < 3; i++) {
        grpc_call_expect(start_with_timeout(&f, HOOKED, timeouts[i]), GRPC_DEADLINE_EXCEEDED,
                         "/test.Call/Hooked: the caller's deadline has passed");
        assert_int_equal(seen.n_cancelled, seen.n_calls);
    }
    rpc_fixture_done(&f);
}

static void test_a_deadline_ends_a_request_that_is_never_whole(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = grpc_peer_call(f.peer, &(struct grpc_request){ .path = HOOKED,
                                                                            .timeout = "20m",
                                                                            .body = "\0\0",
                                                                            .n_body = 2,
                                                                            .open = true });
    grpc_call_expect(call, GRPC_DEADLINE_EXCEEDED,
                     "/test.Call/Hooked: the caller's deadline has passed");
    assert_int_equal(seen.n_calls, 0);
    rpc_fixture_done(&f);
}

static void test_an_answer_in_time_needs_no_deadline_any_more(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start_with_timeout(&f, HOOKED, "30m");
    reply(wait_handled(&f, 0), "in time");
    assert_replied(call, "in time");
    assert_int_equal(event_count_during(f.event, 60000), 0);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

/* --- what a connection may hold -------------------------------------------------------------- */

/* Requests that never become whole: of the largest there may be so many, and room comes back. */
static void test_requests_held_in_memory_are_limited(void **state)
{
    const size_t n = CALL_HELD_MAX / GRPC_WIRE_MESSAGE_MAX, n_part = GRPC_WIRE_MESSAGE_MAX - 1000;
    CLEANUP_FREE uint8_t *body = alloc_zero(1, GRPC_WIRE_PREFIX_SIZE + n_part);
    const struct grpc_request request = {
        .path = HOOKED, .body = body, .n_body = GRPC_WIRE_PREFIX_SIZE + n_part, .open = true
    };
    struct grpc_call *calls[CALLS_MAX];
    struct rpc_fixture f;

    (void)state;
    grpc_wire_prefix(body, GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    for (size_t i = 0; i < n; i++) {
        calls[i] = grpc_peer_call(f.peer, &request);
        grpc_call_wait_sent(calls[i]);
        rpc_fixture_settle(&f);
        assert_false(grpc_call_is_over(calls[i]));
    }
    struct grpc_call *call = grpc_peer_call(f.peer, &request);
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Call/Hooked: too many requests are held in memory");
    struct grpc_peer *other = grpc_peer_new(f.event, f.path); /* has its own */
    struct grpc_call *small =
        grpc_peer_call(other, &(struct grpc_request){ .path = "/test.Call/None" });
    grpc_call_wait(small);
    assert_null(grpc_peer_free(other));
    for (size_t i = 0; i < n; i++)
        grpc_call_cancel(calls[i]);
    rpc_fixture_settle(&f);
    struct grpc_call *again = grpc_peer_call(f.peer, &request);
    grpc_call_wait_sent(again);
    rpc_fixture_settle(&f);
    assert_false(grpc_call_is_over(again));
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_calls_are_answered_later_and_in_any_order),
        FD_LEAK_TEST(test_a_request_lives_until_its_answer),
        FD_LEAK_TEST(test_a_failure_is_told_with_code_and_sentence),
        FD_LEAK_TEST(test_a_failure_without_a_sentence_has_that_of_its_errno),
        FD_LEAK_TEST(test_an_answer_that_is_too_large_is_a_failure),
        FD_LEAK_TEST(test_a_cancelled_call_is_told_once),
        FD_LEAK_TEST(test_a_late_answer_of_a_cancelled_call_is_dropped),
        FD_LEAK_TEST(test_a_cancel_before_the_request_is_whole_never_reaches_the_handler),
        FD_LEAK_TEST(test_a_lost_connection_cancels_all_its_calls),
        FD_LEAK_TEST(test_a_cancel_hook_may_end_another_call),
        FD_LEAK_TEST(test_a_call_ends_at_its_deadline),
        FD_LEAK_TEST(test_a_deadline_that_has_passed_already_ends_the_call),
        FD_LEAK_TEST(test_a_deadline_ends_a_request_that_is_never_whole),
        FD_LEAK_TEST(test_an_answer_in_time_needs_no_deadline_any_more),
        FD_LEAK_TEST(test_requests_held_in_memory_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
