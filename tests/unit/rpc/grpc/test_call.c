/* The life of unary calls: the ends, cancellation, deadlines, connections that are lost. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hcl_spec.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/call_transport.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

static struct rpc_methods_seen seen;

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, rpc_methods, &seen);
}

/* The handler's side of the call that was the i-th. */
static struct call *wait_kept(struct rpc_fixture *f, size_t i)
{
    rpc_fixture_settle(f);
    return rpc_kept(&seen, i);
}

static struct call *wait_take(struct rpc_fixture *f, size_t i)
{
    (void)wait_kept(f, i);
    return rpc_kept_take(&seen, i);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void test_calls_are_answered_later_and_in_any_order(void **state)
{
    struct rpc_fixture f;
    struct grpc_call *calls[3];

    (void)state;
    init(&f);
    for (size_t i = 0; i < 3; i++)
        calls[i] = rpc_call(f.peer, RPC_KEEP, 1);
    (void)wait_kept(&f, 2);
    assert_false(grpc_call_is_over(calls[0]));
    rpc_reply(rpc_kept_take(&seen, 1), 11, NULL);
    rpc_expect_id(calls[1], 11);
    rpc_reply(rpc_kept_take(&seen, 2), 12, NULL);
    rpc_reply(rpc_kept_take(&seen, 0), 10, NULL);
    rpc_expect_id(calls[0], 10);
    rpc_expect_id(calls[2], 12);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0); /* exactly one end each */
}

/* It lives as long as its call, for handlers that take long. */
static void test_a_request_lives_until_its_answer(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 77);
    const ProtobufCMessage *request = call_request(wait_kept(&f, 0));
    rpc_fixture_settle(&f);
    call_reply(rpc_kept_take(&seen, 0), request);
    rpc_expect_id(call, 77);
    rpc_fixture_done(&f);
}

static void test_a_failure_is_told_with_code_and_sentence(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 1);
    fail_set(&fail, -ENOENT, "image '%s' is not there", "a%b");
    call_fail(wait_take(&f, 0), &fail);
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
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 1);
    call_fail(wait_take(&f, 0), &fail);
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
    struct grpc_call *fits = rpc_call(f.peer, RPC_KEEP, 1);
    rpc_reply(wait_take(&f, 0), 0, address);
    grpc_call_expect(fits, GRPC_OK, NULL);
    address[GRPC_WIRE_MESSAGE_MAX - 5] = 'x';
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 1);
    rpc_reply(wait_take(&f, 1), 0, address);
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Methods/Keep: the answer is larger than 4 MiB");
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
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 1), *other = rpc_call(f.peer, RPC_KEEP, 2);
    (void)wait_kept(&f, 1);
    grpc_call_cancel(call);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_cancelled, 1);
    assert_null(seen.kept[0].call);
    rpc_reply(rpc_kept_take(&seen, 1), 2, NULL);
    rpc_expect_id(other, 2);
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
        calls[i] = rpc_call(f.peer, RPC_KEEP_HOOKLESS, 1);
    (void)wait_kept(&f, 2);
    for (size_t i = 0; i < 3; i++)
        grpc_call_cancel(calls[i]);
    rpc_fixture_settle(&f);
    assert_non_null(call_request(rpc_kept(&seen, 0)));
    assert_int_equal(call_queued_bytes(rpc_kept(&seen, 0)), 0);
    rpc_reply(rpc_kept_take(&seen, 0), 1, "late");
    call_fail(rpc_kept_take(&seen, 1), &fail);
    call_finish(rpc_kept_take(&seen, 2));
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
        &(struct grpc_request){
            .path = RPC_KEEP, .body = "\0\0\0\0\5he", .n_body = 7, .open = true });
    rpc_fixture_settle(&f);
    grpc_call_cancel(call);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_kept, 0);
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
        (void)rpc_call(peer, i == 2 ? RPC_KEEP_HOOKLESS : RPC_KEEP, 1);
    (void)grpc_peer_call(peer, &(struct grpc_request){ .path = RPC_KEEP, .open = true });
    rpc_fixture_wait_conns(&f, 2);
    while (seen.n_kept < 3)
        assert_true(sd_event_run(f.event, EVENT_DEADLINE_USEC) > 0);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(seen.n_cancelled, 2);
    rpc_reply(rpc_kept_take(&seen, 2), 1, "to nobody");
    rpc_fixture_done(&f);
}

/* Hooks may end other calls, of the same connection too. */
static void test_a_cancel_hook_may_end_another_call(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_call(f.peer, RPC_KEEP, 1), *other = rpc_call(f.peer, RPC_KEEP, 1);
    seen.also = wait_take(&f, 1);
    grpc_call_cancel(call);
    grpc_call_expect(other, GRPC_OK, NULL);
    assert_int_equal(seen.n_cancelled, 1);

    (void)rpc_call(f.peer, RPC_KEEP, 1);
    (void)rpc_call(f.peer, RPC_KEEP, 1);
    (void)wait_kept(&f, 3);
    seen.also = rpc_kept_take(&seen, 2); /* the server tells the last one first */
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
    grpc_call_expect(start_with_timeout(&f, RPC_KEEP, "20m"), GRPC_DEADLINE_EXCEEDED,
                     "/test.Methods/Keep: the caller's deadline has passed");
    assert_int_equal(seen.n_cancelled, 1);
    grpc_call_expect(start_with_timeout(&f, RPC_KEEP_HOOKLESS, "20m"), GRPC_DEADLINE_EXCEEDED,
                     "/test.Methods/KeepHookless: the caller's deadline has passed");
    rpc_reply(rpc_kept_take(&seen, 1), 1, "too late");
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
        grpc_call_expect(start_with_timeout(&f, RPC_KEEP, timeouts[i]), GRPC_DEADLINE_EXCEEDED,
                         "/test.Methods/Keep: the caller's deadline has passed");
        assert_int_equal(seen.n_cancelled, seen.n_kept);
    }
    rpc_fixture_done(&f);
}

static void test_a_deadline_ends_a_request_that_is_never_whole(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = grpc_peer_call(f.peer, &(struct grpc_request){ .path = RPC_KEEP,
                                                                            .timeout = "20m",
                                                                            .body = "\0\0",
                                                                            .n_body = 2,
                                                                            .open = true });
    grpc_call_expect(call, GRPC_DEADLINE_EXCEEDED,
                     "/test.Methods/Keep: the caller's deadline has passed");
    assert_int_equal(seen.n_kept, 0);
    rpc_fixture_done(&f);
}

static void test_an_answer_in_time_needs_no_deadline_any_more(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start_with_timeout(&f, RPC_KEEP, "30m");
    rpc_reply(wait_take(&f, 0), 5, NULL);
    rpc_expect_id(call, 5);
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
        .path = RPC_KEEP, .body = body, .n_body = GRPC_WIRE_PREFIX_SIZE + n_part, .open = true
    };
    struct grpc_call *calls[CALL_HELD_MAX / GRPC_WIRE_MESSAGE_MAX];
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
                     "/test.Methods/Keep: too many requests are held in memory");
    struct grpc_peer *other = grpc_peer_new(f.event, f.path); /* has its own */
    struct grpc_call *small =
        grpc_peer_call(other, &(struct grpc_request){ .path = "/test.Methods/None" });
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

static void never(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)call;
    (void)request;
    (void)context;
    fail_msg("handled");
}

/* Two bytes of it become a struct. */
static void test_a_request_that_takes_too_much_memory_is_refused(void **state)
{
    static const struct rpc_method methods[] = {
        { .path = "/test.Array/Take",
          .kind = RPC_UNARY,
          .request = &hcl__array__descriptor,
          .response = &hcl__array__descriptor,
          .handle = never },
        {},
    };
    const size_t n = 1 << 20;
    CLEANUP_FREE uint8_t *body = alloc_zero(1, GRPC_WIRE_PREFIX_SIZE + n);
    struct rpc_fixture f;

    (void)state;
    rpc_fixture_init(&f, methods, NULL);
    grpc_wire_prefix(body, (uint32_t)n);
    for (size_t i = 0; i < n; i += 2)
        body[GRPC_WIRE_PREFIX_SIZE + i] = 0x0a;
    struct grpc_call *call = grpc_peer_call(
        f.peer, &(struct grpc_request){
                    .path = "/test.Array/Take", .body = body, .n_body = GRPC_WIRE_PREFIX_SIZE + n });
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Array/Take: the request takes too much memory or is nested too deeply");
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
        FD_LEAK_TEST(test_a_request_that_takes_too_much_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
