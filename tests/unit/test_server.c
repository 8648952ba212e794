/* Connections on a real socket: several, probes, peers that vanish, do not read or say nonsense; and
 * the end. The clients are libnghttp2. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "grpc_broker.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc_status.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc_fixture.h"

/* In which nothing must happen. Longer than anything that is merely slow to come. */
#define IDLE_USEC 100000

#define ECHO  "/test.Server/Echo"
#define WAIT  "/test.Server/Wait"
#define FLOOD "/test.Server/Flood"
#define END   "/test.Server/End"

/* --- methods --------------------------------------------------------------------------------- */

static struct {
    struct call *waiting; /* of the last Wait */
    unsigned n_waiting, n_cancelled, n_echoes;
    struct server *server; /* which End shuts down */
    bool is_down;
    unsigned n_downs, n_idle;
} seen;

static void on_down(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.is_down = true;
    seen.n_downs++;
}

static void on_idle(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.n_idle++;
}

static void handle_echo(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)context;
    seen.n_echoes++;
    call_reply(call, request);
}

static void on_cancel(struct call *call, void *data)
{
    (void)data;
    if (seen.waiting == call)
        seen.waiting = NULL;
    seen.n_cancelled++;
}

static void handle_wait(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    seen.waiting = call;
    seen.n_waiting++;
}

/* More than socket and windows hold. */
static void handle_flood(struct call *call, const ProtobufCMessage *request, void *context)
{
    CLEANUP_FREE char *network = alloc_zero(1, (1 << 20) + 1);
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    (void)request;
    (void)context;
    memset(network, 'x', 1 << 20);
    message.network = network;
    call_reply(call, &message.base);
}

static void handle_end(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)context;
    call_reply(call, request);
    server_shutdown(seen.server, on_down, &seen);
    server_shutdown(seen.server, on_down, &seen); /* once is enough */
    assert_false(seen.is_down);
}

#define METHOD(path_, handle_, cancel_)                                                  \
    {                                                                                    \
        .path = (path_), .kind = RPC_UNARY, .request = &plugin__conn_info__descriptor,   \
        .response = &plugin__conn_info__descriptor, .handle = (handle_), .cancel = (cancel_), \
    }

static const struct rpc_method methods[] = {
    METHOD(ECHO, handle_echo, NULL),
    METHOD(WAIT, handle_wait, on_cancel),
    METHOD(FLOOD, handle_flood, NULL),
    METHOD(END, handle_end, NULL),
    {},
};

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, methods, NULL);
    seen.server = f->server;
    server_on_idle(f->server, on_idle, &seen);
}

static struct grpc_call *call(struct grpc_peer *peer, const char *path, uint32_t id)
{
    Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    message.service_id = id;
    return grpc_peer_call(peer, &(struct grpc_request){ .path = path, .message = &message.base });
}

static void assert_echoed(struct grpc_call *echo, uint32_t id)
{
    grpc_call_expect(echo, GRPC_OK, NULL);
    Plugin__ConnInfo *message =
        (Plugin__ConnInfo *)grpc_call_message(echo, 0, &plugin__conn_info__descriptor);
    assert_int_equal(message->service_id, id);
    plugin__conn_info__free_unpacked(message, NULL);
}

static void assert_serves(struct grpc_peer *peer)
{
    assert_echoed(call(peer, ECHO, 4711), 4711);
}

/* --- several connections --------------------------------------------------------------------- */

static void test_connections_are_served_side_by_side(void **state)
{
    struct rpc_fixture f;
    struct grpc_peer *peers[8];
    struct grpc_call *calls[8][8];

    (void)state;
    init(&f);
    for (uint32_t i = 0; i < 8; i++)
        peers[i] = grpc_peer_new(f.event, f.path);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < 8; j++)
            calls[i][j] = call(peers[j], ECHO, 100 * i + j);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < 8; j++)
            assert_echoed(calls[i][j], 100 * i + j);
    assert_int_equal(server_n_conns(f.server), 9);
    for (uint32_t i = 0; i < 8; i++)
        assert_null(grpc_peer_free(peers[i]));
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(seen.n_idle, 0);
    f.peer = grpc_peer_free(f.peer);
    rpc_fixture_wait_conns(&f, 0);
    assert_int_equal(seen.n_idle, 1);
    rpc_fixture_done(&f);
}

/* Further ones wait in the backlog until one has closed. */
static void test_connections_are_limited(void **state)
{
    struct rpc_fixture f;
    struct grpc_peer *peers[SERVER_CONNS_MAX];

    (void)state;
    init(&f);
    for (size_t i = 0; i < SERVER_CONNS_MAX; i++)
        peers[i] = grpc_peer_new(f.event, f.path);
    rpc_fixture_wait_conns(&f, SERVER_CONNS_MAX);
    struct grpc_call *last = call(peers[SERVER_CONNS_MAX - 1], ECHO, 7);
    assert_serves(f.peer);
    assert_serves(peers[0]);
    event_run_pending(f.event);
    assert_false(grpc_call_is_over(last));
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    assert_null(grpc_peer_free(peers[0]));
    assert_echoed(last, 7);
    for (size_t i = 1; i < SERVER_CONNS_MAX; i++)
        assert_null(grpc_peer_free(peers[i]));
    rpc_fixture_done(&f);
}

static void test_calls_that_wait_cost_no_wake_ups(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (uint32_t i = 0; i < 50; i++)
        (void)call(f.peer, WAIT, i);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_waiting, 50);
    event_run_pending(f.event);
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 50);
}

/* A task's end answers a call outside of any request: on whichever connection it is. */
static void test_an_answer_from_elsewhere_is_sent_unasked(void **state)
{
    struct rpc_fixture f;
    const Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;

    (void)state;
    init(&f);
    struct grpc_call *waiting = call(f.peer, WAIT, 1);
    rpc_fixture_settle(&f);
    call_reply(TAKE_PTR(seen.waiting), &message.base);
    grpc_call_expect(waiting, GRPC_OK, NULL);
    rpc_fixture_done(&f);
}

/* --- peers that are none --------------------------------------------------------------------- */

static int connect_raw(const struct rpc_fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* What reattaching does: looks whether somebody listens, and goes. Or gives up in the middle. */
static void test_probes_are_survived(void **state)
{
    static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\6\4\0\0\0\0\0\0\4\0\1";
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t n = 0; n < sizeof(bytes); n++) {
        int fd = connect_raw(&f);

        assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
        if (n % 2 == 0) /* once it is served, or before */
            rpc_fixture_wait_conns(&f, 2);
        (void)close_fd(fd);
        rpc_fixture_wait_conns(&f, 1);
        event_run_pending(f.event);
    }
    rpc_fixture_wait_conns(&f, 1);
    assert_serves(f.peer);
    rpc_fixture_done(&f);
}

/* The answer is our SETTINGS and GOAWAY, then the end. */
static void test_another_protocol_is_told_and_closed(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    uint8_t bytes[512];
    struct rpc_fixture f;

    (void)state;
    init(&f);
    int fd = connect_raw(&f);
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    rpc_fixture_wait_conns(&f, 2);
    rpc_fixture_wait_conns(&f, 1);
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_WAITALL);
    assert_true(n > 40);
    assert_int_equal(bytes[3], 4);      /* SETTINGS */
    assert_int_equal(bytes[40 + 3], 7); /* GOAWAY, after WINDOW_UPDATE */
    assert_int_equal(bytes[40 + 9 + 7], H2_PROTOCOL_ERROR);
    (void)close_fd(fd);
    assert_serves(f.peer);
    rpc_fixture_done(&f);
}

/* --- peers that go --------------------------------------------------------------------------- */

/* What it had said before is heard. */
static void test_a_request_of_a_peer_that_is_gone_already_is_handled(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    rpc_fixture_wait_conns(&f, 1);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    (void)call(peer, ECHO, 1);
    (void)call(peer, WAIT, 1);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 2);
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(seen.n_echoes, 1);
    assert_int_equal(seen.n_waiting, 1);
    assert_int_equal(seen.n_cancelled, 1);
    rpc_fixture_done(&f);
}

static void test_a_half_closed_peer_is_gone(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    assert_serves(peer);
    (void)call(peer, WAIT, 1);
    grpc_peer_half_close(peer);
    assert_true(grpc_peer_wait_closed(peer));
    assert_int_equal(server_n_conns(f.server), 1);
    assert_int_equal(seen.n_waiting, 1);
    assert_int_equal(seen.n_cancelled, 1);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_done(&f);
}

static void test_a_peer_that_goes_with_answers_unread_is_survived(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    grpc_peer_set_window(peer, 64 << 20);
    assert_serves(peer);
    grpc_peer_pause(peer);
    for (uint32_t i = 0; i < 4; i++)
        (void)call(peer, FLOOD, i);
    assert_serves(f.peer);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 1);
    assert_serves(f.peer);
    rpc_fixture_done(&f);
}

/* Others are served, nothing is lost, and nothing spins. */
static void test_a_peer_that_stops_reading_holds_up_only_itself(void **state)
{
    struct rpc_fixture f;
    struct grpc_call *floods[8], *echoes[2000];

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    grpc_peer_set_window(peer, 64 << 20);
    assert_serves(peer);
    grpc_peer_pause(peer);
    for (uint32_t i = 0; i < 8; i++)
        floods[i] = call(peer, FLOOD, i);
    for (uint32_t i = 0; i < 2000; i++)
        echoes[i] = call(peer, ECHO, i);
    event_run_pending(f.event);
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    assert_serves(f.peer);
    grpc_peer_resume(peer);
    for (uint32_t i = 0; i < 8; i++) {
        grpc_call_expect(floods[i], GRPC_OK, NULL);
        assert_true(grpc_call_n_bytes(floods[i]) > 1 << 20);
    }
    for (uint32_t i = 0; i < 2000; i++)
        assert_echoed(echoes[i], i);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_done(&f);
}

/* --- no descriptors -------------------------------------------------------------------------- */

/* Nothing tells when there are some again: it is tried now and then, and does not spin. */
static void test_a_connection_waits_for_a_descriptor(void **state)
{
    struct rpc_fixture f;
    struct rlimit limit, none;

    (void)state;
    init(&f);
    assert_serves(f.peer);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    struct grpc_call *echo = call(peer, ECHO, 5);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest = dup(STDERR_FILENO);
    assert_true(lowest >= 0);
    (void)close_fd(lowest);
    none = (struct rlimit){ .rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    event_run_pending(f.event);
    assert_int_equal(server_n_conns(f.server), 1);
    assert_in_range(event_count_during(f.event, IDLE_USEC), 0, 1);
    assert_serves(f.peer);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_echoed(echo, 5);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_done(&f);
}

/* --- the end --------------------------------------------------------------------------------- */

static void test_a_shutdown_from_a_handler_is_answered_first(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *other = grpc_peer_new(f.event, f.path);
    struct grpc_call *waiting = call(other, WAIT, 1);
    assert_serves(other);
    struct grpc_call *end = call(f.peer, END, 3);
    assert_true(event_run_until_set(f.event, &seen.is_down));
    assert_echoed(end, 3);
    assert_true(grpc_peer_wait_closed(f.peer)); /* it had no more calls */
    assert_int_equal(grpc_peer_goaway(f.peer), 0);
    event_run_pending(f.event);
    assert_int_equal(grpc_peer_goaway(other), 0);
    assert_false(grpc_call_is_over(waiting));
    assert_int_equal(seen.n_cancelled, 0);
    assert_int_equal(seen.n_downs, 1);
    assert_null(grpc_peer_free(other));
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 1);
    assert_int_equal(seen.n_downs, 1);
}

static void test_a_shutdown_without_connections_is_done_at_once(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    rpc_fixture_settle(&f);
    f.peer = grpc_peer_free(f.peer);
    rpc_fixture_wait_conns(&f, 0);
    server_shutdown(f.server, on_down, &seen);
    assert_false(seen.is_down);
    event_run_pending(f.event);
    assert_true(seen.is_down);
    rpc_fixture_done(&f);
}

/* Of the requests that a connection sends after it, none is handled; new connections wait. */
static void test_nothing_new_is_taken_after_a_shutdown(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *waiting = call(f.peer, WAIT, 1);
    rpc_fixture_settle(&f);
    server_shutdown(f.server, on_down, &seen);
    assert_true(event_run_until_set(f.event, &seen.is_down));
    struct grpc_peer *late = grpc_peer_new(f.event, f.path);
    (void)call(late, ECHO, 1);
    event_run_pending(f.event);
    assert_int_equal(seen.n_echoes, 0);
    assert_int_equal(server_n_conns(f.server), 1);
    const Plugin__ConnInfo message = PLUGIN__CONN_INFO__INIT;
    call_reply(TAKE_PTR(seen.waiting), &message.base); /* what is under way may end */
    grpc_call_expect(waiting, GRPC_OK, NULL);
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
    assert_serves(f.peer);
    grpc_peer_pause(f.peer);
    (void)call(f.peer, FLOOD, 1);
    event_run_pending(f.event);
    assert_int_equal(sd_event_now(f.event, CLOCK_MONOTONIC, &before), 0);
    server_shutdown(f.server, on_down, &seen);
    event_run_pending(f.event);
    assert_false(seen.is_down);
    assert_true(event_run_until_set(f.event, &seen.is_down));
    assert_int_equal(sd_event_now(f.event, CLOCK_MONOTONIC, &after), 0);
    assert_in_range(after - before, SERVER_SHUTDOWN_USEC, 5 * SERVER_SHUTDOWN_USEC);
    assert_int_equal(seen.n_downs, 1);
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
        assert_serves(f.peer);
        grpc_peer_pause(f.peer);
        struct grpc_call *flood = call(f.peer, FLOOD, 1);
        event_run_pending(f.event);
        server_shutdown(f.server, on_down, &seen);
        event_run_pending(f.event);
        assert_false(seen.is_down);
        grpc_peer_resume(f.peer);
        assert_true(event_run_until_set(f.event, &seen.is_down));
        grpc_call_expect(flood, GRPC_OK, NULL);
        assert_true(grpc_peer_wait_closed(f.peer));
        assert_int_equal(event_count_during(f.event, IDLE_USEC), 0); /* no timer is left */
        rpc_fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_connections_are_served_side_by_side),
        FD_LEAK_TEST(test_connections_are_limited),
        FD_LEAK_TEST(test_calls_that_wait_cost_no_wake_ups),
        FD_LEAK_TEST(test_an_answer_from_elsewhere_is_sent_unasked),
        FD_LEAK_TEST(test_probes_are_survived),
        FD_LEAK_TEST(test_another_protocol_is_told_and_closed),
        FD_LEAK_TEST(test_a_request_of_a_peer_that_is_gone_already_is_handled),
        FD_LEAK_TEST(test_a_half_closed_peer_is_gone),
        FD_LEAK_TEST(test_a_peer_that_goes_with_answers_unread_is_survived),
        FD_LEAK_TEST(test_a_peer_that_stops_reading_holds_up_only_itself),
        FD_LEAK_TEST(test_a_connection_waits_for_a_descriptor),
        FD_LEAK_TEST(test_a_shutdown_from_a_handler_is_answered_first),
        FD_LEAK_TEST(test_a_shutdown_without_connections_is_done_at_once),
        FD_LEAK_TEST(test_nothing_new_is_taken_after_a_shutdown),
        FD_LEAK_TEST(test_a_shutdown_waits_a_second_for_peers_that_do_not_read),
        FD_LEAK_TEST(test_a_shutdown_ends_when_a_slow_peer_has_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
