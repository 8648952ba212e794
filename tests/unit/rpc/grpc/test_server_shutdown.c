/* The end of a server on a real socket. The clients are libnghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

/* In which nothing must happen. Longer than anything that is merely slow to come. */
#define IDLE_USEC 100000

static struct rpc_methods_seen seen;

static struct {
    struct server *server;
    bool is_down;
    unsigned n;
} down;

static void on_down(void *data)
{
    assert_ptr_equal(data, &down);
    down.is_down = true;
    down.n++;
}

static void shut_down(struct rpc_methods_seen *unused)
{
    (void)unused;
    server_shutdown(down.server, on_down, &down);
    server_shutdown(down.server, on_down, &down); /* once is enough */
    assert_false(down.is_down);                   /* not from inside */
}

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, rpc_methods, &seen);
    memset(&down, 0, sizeof(down));
    down.server = f->server;
}

static void test_a_shutdown_from_a_handler_is_answered_first(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *other = grpc_peer_new(f.event, f.path);
    struct grpc_call *waiting = rpc_call(other, RPC_KEEP, 1);
    rpc_expect_served(other);
    seen.on_echo = shut_down;
    struct grpc_call *end = rpc_call(f.peer, RPC_ECHO, 3);
    assert_true(event_run_until_set(f.event, &down.is_down));
    rpc_expect_id(end, 3);
    assert_true(grpc_peer_wait_closed(f.peer)); /* it had no more calls */
    assert_int_equal(grpc_peer_goaway(f.peer), 0);
    event_run_pending(f.event);
    assert_int_equal(grpc_peer_goaway(other), 0);
    assert_false(grpc_call_is_over(waiting));
    assert_int_equal(seen.n_cancelled, 0);
    assert_int_equal(down.n, 1);
    assert_null(grpc_peer_free(other));
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 1);
    assert_int_equal(down.n, 1);
}

static void test_a_shutdown_without_connections_is_done_at_once(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    rpc_fixture_settle(&f);
    f.peer = grpc_peer_free(f.peer);
    rpc_fixture_wait_conns(&f, 0);
    server_shutdown(f.server, on_down, &down);
    assert_false(down.is_down);
    event_run_pending(f.event);
    assert_true(down.is_down);
    rpc_fixture_done(&f);
}

/* Of the requests that a connection sends after it, none is handled; new connections wait. */
static void test_nothing_new_is_taken_after_a_shutdown(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *waiting = rpc_call(f.peer, RPC_KEEP, 1);
    rpc_fixture_settle(&f);
    server_shutdown(f.server, on_down, &down);
    assert_true(event_run_until_set(f.event, &down.is_down));
    struct grpc_peer *late = grpc_peer_new(f.event, f.path);
    (void)rpc_call(late, RPC_ECHO, 1);
    event_run_pending(f.event);
    assert_int_equal(seen.n_echoes, 0);
    assert_int_equal(server_n_conns(f.server), 1);
    rpc_reply(rpc_kept_take(&seen, 0), 2, NULL); /* what is under way may end */
    rpc_expect_id(waiting, 2);
    assert_true(grpc_peer_wait_closed(f.peer));
    assert_null(grpc_peer_free(late));
    rpc_fixture_done(&f);
}

/* What is queued is sent, but a peer that does not read is waited for a second only. */
static void test_a_shutdown_waits_a_second_for_peers_that_do_not_read(void **state)
{
    struct rpc_fixture f;
    uint64_t before, after;

    (void)state;
    init(&f);
    rpc_expect_served(f.peer);
    grpc_peer_pause(f.peer);
    (void)rpc_call(f.peer, RPC_FLOOD, 1);
    event_run_pending(f.event);
    assert_int_equal(sd_event_now(f.event, CLOCK_MONOTONIC, &before), 0);
    server_shutdown(f.server, on_down, &down);
    event_run_pending(f.event);
    assert_false(down.is_down);
    assert_true(event_run_until_set(f.event, &down.is_down));
    assert_int_equal(sd_event_now(f.event, CLOCK_MONOTONIC, &after), 0);
    assert_in_range(after - before, SERVER_SHUTDOWN_USEC, 5 * SERVER_SHUTDOWN_USEC);
    assert_int_equal(down.n, 1);
    rpc_fixture_done(&f);
}

/* Whether its answers wait for the socket or for its windows. */
static void test_a_shutdown_ends_when_a_slow_peer_has_read(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide <= 1; wide++) {
        struct rpc_fixture f;

        init(&f);
        if (wide)
            grpc_peer_set_window(f.peer, 64 << 20);
        rpc_expect_served(f.peer);
        grpc_peer_pause(f.peer);
        struct grpc_call *flood = rpc_call(f.peer, RPC_FLOOD, 1);
        event_run_pending(f.event);
        server_shutdown(f.server, on_down, &down);
        event_run_pending(f.event);
        assert_false(down.is_down);
        grpc_peer_resume(f.peer);
        assert_true(event_run_until_set(f.event, &down.is_down));
        grpc_call_expect(flood, GRPC_OK, NULL);
        assert_true(grpc_peer_wait_closed(f.peer));
        assert_int_equal(event_count_during(f.event, IDLE_USEC), 0); /* no timer is left */
        rpc_fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_shutdown_from_a_handler_is_answered_first),
        FD_LEAK_TEST(test_a_shutdown_without_connections_is_done_at_once),
        FD_LEAK_TEST(test_nothing_new_is_taken_after_a_shutdown),
        FD_LEAK_TEST(test_a_shutdown_waits_a_second_for_peers_that_do_not_read),
        FD_LEAK_TEST(test_a_shutdown_ends_when_a_slow_peer_has_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
