/* Connections on a real socket: several, probes, peers that vanish, do not read or say nonsense.
 * The clients are libnghttp2. The end: test_server_shutdown.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_status.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

/* In which nothing must happen. Longer than anything that is merely slow to come. */
#define IDLE_USEC 100000

static struct rpc_methods_seen seen;
static unsigned n_idle;

static void on_idle(void *data)
{
    assert_ptr_equal(data, &n_idle);
    n_idle++;
}

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    n_idle = 0;
    rpc_fixture_init(f, rpc_methods, &seen);
    server_on_idle(f->server, on_idle, &n_idle);
}

static int connect_raw(const struct rpc_fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
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
            calls[i][j] = rpc_call(peers[j], RPC_ECHO, 100 * i + j);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < 8; j++)
            rpc_expect_id(calls[i][j], 100 * i + j);
    assert_int_equal(server_n_conns(f.server), 9);
    for (uint32_t i = 0; i < 8; i++)
        assert_null(grpc_peer_free(peers[i]));
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(n_idle, 0);
    f.peer = grpc_peer_free(f.peer);
    rpc_fixture_wait_conns(&f, 0);
    assert_int_equal(n_idle, 1);
    rpc_fixture_done(&f);
}

/* A server that is full, of connections that have a call each. */
static void fill(struct rpc_fixture *f, struct grpc_peer *peers[static SERVER_CONNS_MAX])
{
    peers[0] = f->peer;
    for (size_t i = 0; i < SERVER_CONNS_MAX; i++) {
        if (i > 0)
            peers[i] = grpc_peer_new(f->event, f->path);
        (void)rpc_call(peers[i], RPC_KEEP, (uint32_t)i);
        while (seen.n_kept <= i)
            assert_true(sd_event_run(f->event, EVENT_DEADLINE_USEC) > 0);
    }
    assert_int_equal(server_n_conns(f->server), SERVER_CONNS_MAX);
}

static void empty(struct rpc_fixture *f, struct grpc_peer *peers[static SERVER_CONNS_MAX])
{
    for (size_t i = 1; i < SERVER_CONNS_MAX; i++)
        assert_null(grpc_peer_free(peers[i]));
    rpc_fixture_done(f);
}

/* Further ones wait in the backlog until one has closed. */
static void test_connections_are_limited(void **state)
{
    struct rpc_fixture f;
    struct grpc_peer *peers[SERVER_CONNS_MAX];

    (void)state;
    init(&f);
    fill(&f, peers);
    struct grpc_peer *late = grpc_peer_new(f.event, f.path);
    struct grpc_call *last = rpc_call(late, RPC_ECHO, 7);
    rpc_expect_served(f.peer);
    rpc_expect_served(peers[1]);
    event_run_pending(f.event);
    assert_false(grpc_call_is_over(last));
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    assert_null(grpc_peer_free(peers[1]));
    rpc_expect_id(last, 7);
    peers[1] = late;
    empty(&f, peers);
}

/* ... or has nothing to do. */
static void test_an_idle_connection_makes_room_for_another(void **state)
{
    struct rpc_fixture f;
    struct grpc_peer *peers[SERVER_CONNS_MAX];

    (void)state;
    init(&f);
    fill(&f, peers);
    struct grpc_peer *late = grpc_peer_new(f.event, f.path);
    struct grpc_call *last = rpc_call(late, RPC_ECHO, 7);
    event_run_pending(f.event);
    assert_false(grpc_call_is_over(last));
    for (size_t i = 7; i < 9; i++)
        rpc_reply(rpc_kept_take(&seen, i), 0, NULL);
    rpc_expect_id(last, 7);
    event_run_pending(f.event); /* it was closed before the other was heard */
    assert_true(grpc_peer_is_closed(peers[7]) != grpc_peer_is_closed(peers[8]));
    assert_int_equal(server_n_conns(f.server), SERVER_CONNS_MAX);
    /* and of those that are idle the one that is so for longest */
    size_t next = grpc_peer_is_closed(peers[7]) ? 8 : 7;
    assert_int_equal(grpc_peer_goaway(peers[15 - next]), 0);
    rpc_expect_served(late);
    struct grpc_peer *later = grpc_peer_new(f.event, f.path);
    rpc_expect_served(later);
    assert_true(grpc_peer_wait_closed(peers[next]));
    rpc_expect_served(late);
    for (size_t i = 7; i < 9; i++)
        assert_null(grpc_peer_free(peers[i]));
    peers[7] = late;
    peers[8] = later;
    empty(&f, peers);
}

/* Nothing else is said to it: it has shown that it does not read, or is no HTTP/2. */
static void test_a_connection_that_does_not_begin_is_closed(void **state)
{
    static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\6\4\0\0\0";
    struct rpc_fixture f;

    (void)state;
    init(&f);
    rpc_expect_served(f.peer);
    for (size_t n = 0; n < sizeof(begin); n += 5) {
        CLEANUP_CLOSE int fd = connect_raw(&f);
        uint8_t answer[256] = {};

        server_set_start_usec(f.server, 20000);
        assert_int_equal(write(fd, begin, n), n);
        rpc_fixture_wait_conns(&f, 2);
        rpc_expect_served(f.peer);
        rpc_fixture_wait_conns(&f, 1);
        ssize_t n_answer = read(fd, answer, sizeof(answer));
        /* GOAWAY, last stream 0, SETTINGS_TIMEOUT */
        static const uint8_t error[] = { 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4 };
        assert_non_null(memmem(answer, (size_t)n_answer, error, sizeof(error)));
        assert_int_equal(read(fd, answer, sizeof(answer)), 0);
    }
    rpc_expect_served(f.peer);
    rpc_fixture_done(&f);
}

static void test_calls_that_wait_cost_no_wake_ups(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (uint32_t i = 0; i < 50; i++)
        (void)rpc_call(f.peer, RPC_KEEP, i);
    rpc_fixture_settle(&f);
    assert_int_equal(seen.n_kept, 50);
    event_run_pending(f.event);
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    rpc_fixture_done(&f);
    assert_int_equal(seen.n_cancelled, 50);
}

/* A task's end answers a call outside of any request: on whichever connection it is. */
static void test_an_answer_from_elsewhere_is_sent_unasked(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *waiting = rpc_call(f.peer, RPC_KEEP, 1);
    rpc_fixture_settle(&f);
    rpc_reply(rpc_kept_take(&seen, 0), 2, NULL);
    rpc_expect_id(waiting, 2);
    rpc_fixture_done(&f);
}

/* --- peers that are none --------------------------------------------------------------------- */

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
    rpc_expect_served(f.peer);
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
    rpc_expect_served(f.peer);
    rpc_fixture_done(&f);
}

/* A fault of one request is no other's business. */
static void test_a_malformed_request_resets_only_its_stream(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *waiting = rpc_call(f.peer, RPC_KEEP, 1);
    struct grpc_call *malformed = rpc_call(f.peer, "/test.Methods/\x7f", 2);
    grpc_call_wait(malformed);
    assert_int_equal(grpc_call_error(malformed), H2_PROTOCOL_ERROR);
    rpc_expect_served(f.peer);
    assert_false(grpc_call_is_over(waiting));
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
    (void)rpc_call(peer, RPC_ECHO, 1);
    (void)rpc_call(peer, RPC_KEEP, 1);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 2);
    rpc_fixture_wait_conns(&f, 1);
    assert_int_equal(seen.n_echoes, 1);
    assert_int_equal(seen.n_kept, 1);
    assert_int_equal(seen.n_cancelled, 1);
    rpc_fixture_done(&f);
}

static void test_a_half_closed_peer_is_gone(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    rpc_expect_served(peer);
    (void)rpc_call(peer, RPC_KEEP, 1);
    grpc_peer_half_close(peer);
    assert_true(grpc_peer_wait_closed(peer));
    assert_int_equal(server_n_conns(f.server), 1);
    assert_int_equal(seen.n_kept, 1);
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
    rpc_expect_served(peer);
    grpc_peer_pause(peer);
    for (uint32_t i = 0; i < 4; i++)
        (void)rpc_call(peer, RPC_FLOOD, i);
    rpc_expect_served(f.peer);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 1);
    rpc_expect_served(f.peer);
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
    rpc_expect_served(peer);
    grpc_peer_pause(peer);
    for (uint32_t i = 0; i < 8; i++)
        floods[i] = rpc_call(peer, RPC_FLOOD, i);
    for (uint32_t i = 0; i < 2000; i++)
        echoes[i] = rpc_call(peer, RPC_ECHO, i);
    event_run_pending(f.event);
    assert_int_equal(event_count_during(f.event, IDLE_USEC), 0);
    rpc_expect_served(f.peer);
    grpc_peer_resume(peer);
    for (uint32_t i = 0; i < 8; i++) {
        grpc_call_expect(floods[i], GRPC_OK, NULL);
        assert_true(grpc_call_n_bytes(floods[i]) > RPC_FLOOD_BYTES);
    }
    for (uint32_t i = 0; i < 2000; i++)
        rpc_expect_id(echoes[i], i);
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
    rpc_expect_served(f.peer);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    struct grpc_call *echo = rpc_call(peer, RPC_ECHO, 5);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest = dup(STDERR_FILENO);
    assert_true(lowest >= 0);
    (void)close_fd(lowest);
    none = (struct rlimit){ .rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    event_run_pending(f.event);
    assert_int_equal(server_n_conns(f.server), 1);
    assert_in_range(event_count_during(f.event, IDLE_USEC), 0, 1);
    rpc_expect_served(f.peer);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rpc_expect_id(echo, 5);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_connections_are_served_side_by_side),
        FD_LEAK_TEST(test_connections_are_limited),
        FD_LEAK_TEST(test_an_idle_connection_makes_room_for_another),
        FD_LEAK_TEST(test_a_connection_that_does_not_begin_is_closed),
        FD_LEAK_TEST(test_calls_that_wait_cost_no_wake_ups),
        FD_LEAK_TEST(test_an_answer_from_elsewhere_is_sent_unasked),
        FD_LEAK_TEST(test_probes_are_survived),
        FD_LEAK_TEST(test_another_protocol_is_told_and_closed),
        FD_LEAK_TEST(test_a_malformed_request_resets_only_its_stream),
        FD_LEAK_TEST(test_a_request_of_a_peer_that_is_gone_already_is_handled),
        FD_LEAK_TEST(test_a_half_closed_peer_is_gone),
        FD_LEAK_TEST(test_a_peer_that_goes_with_answers_unread_is_survived),
        FD_LEAK_TEST(test_a_peer_that_stops_reading_holds_up_only_itself),
        FD_LEAK_TEST(test_a_connection_waits_for_a_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
