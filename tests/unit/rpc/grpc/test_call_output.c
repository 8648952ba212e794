/* Calls that give a stream of messages, and what a peer that does not read may cost. */
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

static bool is_kept(void *data)
{
    (void)data;
    return seen.n_kept > 0;
}

static struct grpc_call *start(struct rpc_fixture *f, struct grpc_peer *peer)
{
    struct grpc_call *call = rpc_call(peer, RPC_GIVE, 1);

    assert_true(event_run_until(f->event, is_kept, NULL));
    return call;
}

static void test_a_stream_is_opened_before_there_is_something_to_say(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_fixture_settle(&f);
    assert_string_equal(grpc_call_header(call, ":status"), "200");
    assert_false(grpc_call_is_over(call));
    rpc_send(rpc_kept(&seen, 0), 1, NULL);
    rpc_send(rpc_kept(&seen, 0), 2, NULL);
    grpc_call_wait_messages(call, 2);
    assert_false(grpc_call_is_over(call));
    rpc_send(rpc_kept(&seen, 0), 3, NULL);
    call_finish(rpc_kept_take(&seen, 0));
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rpc_answer_id(call, i), i + 1);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

static void test_a_stream_may_fail_after_messages(void **state)
{
    struct rpc_fixture f;
    const struct fail fail = { .error = -EIO };

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_send(rpc_kept(&seen, 0), 1, NULL);
    call_fail(rpc_kept_take(&seen, 0), &fail);
    grpc_call_expect(call, GRPC_INTERNAL, "Input/output error");
    assert_int_equal(grpc_call_n_messages(call), 1);
    rpc_fixture_done(&f);
}

/* Larger than the peer's window, and drained when that has grown. */
static void test_a_queue_is_counted_and_its_end_told(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FREE char *text = alloc_zero(1, 200001);

    (void)state;
    memset(text, 'x', 200000);
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_fixture_settle(&f);
    grpc_peer_pause(f.peer);
    rpc_send(rpc_kept(&seen, 0), 1, text);
    rpc_send(rpc_kept(&seen, 0), 2, NULL);
    assert_in_range(call_queued_bytes(rpc_kept(&seen, 0)), 200000 - 65535, 200020);
    assert_int_equal(seen.n_drains, 0);
    grpc_peer_resume(f.peer);
    grpc_call_wait_messages(call, 2);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_drains, 1);
    assert_int_equal(call_queued_bytes(rpc_kept(&seen, 0)), 0);
    rpc_send(rpc_kept(&seen, 0), 3, text);
    call_finish(rpc_kept_take(&seen, 0)); /* after what is queued */
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 3);
    rpc_fixture_done(&f);
}

/* What waits is limited; then the stream ends, and its handler hears of it later. */
static void test_a_stream_whose_peer_gives_no_room_ends(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FREE char *text = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX);

    (void)state;
    memset(text, 'x', GRPC_WIRE_MESSAGE_MAX - 100);
    init(&f);
    struct grpc_peer *peer = grpc_peer_new_without_updates(f.event, f.path);
    struct grpc_call *call = start(&f, peer);
    size_t n_before = 0;
    for (unsigned i = 0; i < 8; i++) {
        rpc_send(rpc_kept(&seen, 0), i, text);
        assert_int_equal(seen.n_cancelled, 0); /* not from inside */
        if (call_queued_bytes(rpc_kept(&seen, 0)) < n_before)
            break;
        n_before = call_queued_bytes(rpc_kept(&seen, 0));
    }
    assert_in_range(n_before, H2_QUEUED_MAX - GRPC_WIRE_MESSAGE_MAX, H2_QUEUED_MAX);
    assert_int_equal(call_queued_bytes(rpc_kept(&seen, 0)), 0); /* inert */
    event_run_pending(f.event);
    assert_int_equal(seen.n_cancelled, 1);
    assert_null(seen.kept[0].call);
    assert_false(grpc_call_is_over(call)); /* its status waits behind what is queued */
    assert_null(grpc_peer_free(peer));
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 1);
}

static void test_a_message_that_is_too_large_ends_the_stream(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FREE char *text = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX + 1);

    (void)state;
    memset(text, 'x', GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_send(rpc_kept(&seen, 0), 1, NULL);
    rpc_send(rpc_kept(&seen, 0), 2, text);
    rpc_send(rpc_kept(&seen, 0), 3, NULL); /* dropped */
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Methods/Give: the answer is larger than 4 MiB");
    assert_int_equal(grpc_call_n_messages(call), 1);
    event_run_pending(f.event);
    assert_int_equal(seen.n_cancelled, 1);
    rpc_fixture_done(&f);
}

/* The handler may end it first: then there is nothing left to be told. */
static void test_a_stream_ended_right_after_it_overran_is_not_cancelled(void **state)
{
    struct rpc_fixture f;
    CLEANUP_FREE char *text = alloc_zero(1, GRPC_WIRE_MESSAGE_MAX + 1);

    (void)state;
    memset(text, 'x', GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_send(rpc_kept(&seen, 0), 2, text);
    call_finish(rpc_kept_take(&seen, 0));
    grpc_call_expect(call, GRPC_RESOURCE_EXHAUSTED,
                     "/test.Methods/Give: the answer is larger than 4 MiB");
    event_run_pending(f.event);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 0);
}

static void test_a_cancelled_stream_is_told_and_sends_no_more(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = start(&f, f.peer);
    rpc_send(rpc_kept(&seen, 0), 1, NULL);
    grpc_call_wait_messages(call, 1);
    grpc_call_cancel(call);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_cancelled, 1);
    assert_int_equal(grpc_call_n_messages(call), 1);
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_stream_is_opened_before_there_is_something_to_say),
        FD_LEAK_TEST(test_a_stream_may_fail_after_messages),
        FD_LEAK_TEST(test_a_queue_is_counted_and_its_end_told),
        FD_LEAK_TEST(test_a_stream_whose_peer_gives_no_room_ends),
        FD_LEAK_TEST(test_a_message_that_is_too_large_ends_the_stream),
        FD_LEAK_TEST(test_a_stream_ended_right_after_it_overran_is_not_cancelled),
        FD_LEAK_TEST(test_a_cancelled_stream_is_told_and_sends_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
