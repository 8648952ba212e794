/* One connection without a server: what it tells its owner, and when. What it says to its peer:
 * test_server.c and its like. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/memory.h"
#include "rpc/grpc/server_conn.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

/* For a peer to begin: longer than any test here takes. */
#define LONG_USEC EVENT_DEADLINE_USEC

#define BYTES(literal) (literal), sizeof(literal) - 1

struct fixture {
    sd_event *event;
    struct dispatch *dispatch;
    struct server_conn *conn; /* NULL: it has ended */
    int peer_fd;
    struct rpc_methods_seen seen;
    unsigned n_bursts, n_ended, n_worked, n_wanted;
};

static void on_burst(void *data)
{
    struct fixture *f = data;

    f->n_bursts++;
}

static void on_ended(struct server_conn *conn, void *data)
{
    struct fixture *f = data;

    assert_ptr_equal(conn, f->conn);
    f->n_ended++;
    f->conn = server_conn_free(conn);
}

static void on_worked(void *data)
{
    struct fixture *f = data;

    f->n_worked++;
}

static const struct server_conn_events events = {
    .burst = on_burst,
    .ended = on_ended,
    .worked = on_worked,
};

static void init(struct fixture *f, uint64_t start_usec)
{
    int fds[2];

    (void)signal(SIGPIPE, SIG_IGN); /* as the plugin does */
    log_set_level(LOG_LEVEL_ERROR);
    *f = (struct fixture){ .dispatch = dispatch_new() };
    assert_true(sd_event_new(&f->event) >= 0);
    dispatch_add(f->dispatch, rpc_methods, &f->seen);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->peer_fd = fds[1];
    const struct server_conn_args args = {
        .event = f->event,
        .dispatch = f->dispatch,
        .start_usec = start_usec,
        .events = &events,
        .data = f,
    };
    f->conn = server_conn_new(&args, fds[0]);
    assert_non_null(f->conn);
}

static void done(struct fixture *f)
{
    f->conn = server_conn_free(f->conn);
    f->dispatch = dispatch_free(f->dispatch);
    f->peer_fd = close_fd(f->peer_fd);
    sd_event_unref(f->event);
}

/* --- the peer -------------------------------------------------------------------------------- */

static void say(const struct fixture *f, const void *bytes, size_t n)
{
    assert_int_equal(send(f->peer_fd, bytes, n, 0), n);
}

static void say_frame(const struct fixture *f, enum h2_frame_type type, uint8_t flags, uint32_t id,
                      const void *payload, size_t n)
{
    uint8_t bytes[H2_FRAME_HEADER_SIZE + 128];

    assert_true(n <= 128);
    (void)h2_codec_encode_frame_header(bytes, n, type, flags, id);
    if (n > 0)
        memcpy(bytes + H2_FRAME_HEADER_SIZE, payload, n);
    say(f, bytes, H2_FRAME_HEADER_SIZE + n);
}

static void say_start(const struct fixture *f)
{
    say(f, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    say_frame(f, H2_SETTINGS, 0, 0, NULL, 0);
}

/* A call that is kept. */
static void say_call(const struct fixture *f, uint32_t id)
{
    say_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS, id,
              BYTES("\x83\x86\x04\x12" RPC_KEEP "\x0f\x10\x10"
                    "application/grpc"
                    "\x00\x02"
                    "te"
                    "\x08"
                    "trailers"));
    say_frame(f, H2_DATA, H2_FLAG_END_STREAM, id, BYTES("\0\0\0\0\0"));
}

static void say_cancel(const struct fixture *f, uint32_t id)
{
    say_frame(f, H2_RST_STREAM, 0, id, BYTES("\0\0\0\10"));
}

/* Reads what has been said to the peer; the type of the last frame, or -1: none. */
static int read_last_frame(const struct fixture *f, bool *ret_closed)
{
    static uint8_t bytes[65536];
    int last = -1;

    ssize_t n = recv(f->peer_fd, bytes, sizeof(bytes), 0);
    for (ssize_t at = 0; at + H2_FRAME_HEADER_SIZE <= n;) {
        size_t size;
        assert_int_equal(h2_codec_frame_size(bytes + at, &size), H2_NO_ERROR);
        last = bytes[at + 3];
        at += (ssize_t)size;
    }
    *ret_closed = n == 0 || (n > 0 && recv(f->peer_fd, bytes, 1, 0) == 0);
    return last;
}

/* --- waiting --------------------------------------------------------------------------------- */

static bool has_kept(void *data)
{
    const struct fixture *f = data;

    return f->seen.n_kept >= f->n_wanted;
}

static bool has_cancelled(void *data)
{
    const struct fixture *f = data;

    return f->seen.n_cancelled >= f->n_wanted;
}

static bool has_ended(void *data)
{
    const struct fixture *f = data;

    return f->n_ended > 0;
}

static void wait_for(struct fixture *f, bool (*condition)(void *data), unsigned n)
{
    f->n_wanted = n;
    assert_true(event_run_until(f->event, condition, f));
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_its_owner_hears_of_each_event(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    assert_true(server_conn_is_idle(f.conn));
    assert_false(server_conn_has_said_all(f.conn)); /* its SETTINGS */
    assert_int_equal(f.n_worked, 0);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    unsigned n_worked = f.n_worked;
    assert_true(n_worked > 0);
    assert_false(server_conn_is_idle(f.conn));
    assert_true(server_conn_has_said_all(f.conn));

    say_cancel(&f, 1);
    wait_for(&f, has_cancelled, 1);
    assert_int_equal(f.n_worked, n_worked + 1);
    assert_true(server_conn_is_idle(f.conn));
    assert_int_equal(f.n_ended, 0);
    assert_int_equal(f.n_bursts, 0);
    done(&f);
}

static void test_it_counts_how_long_it_is_idle(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    uint64_t began_usec = server_conn_idle_since(f.conn);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    say_cancel(&f, 1);
    wait_for(&f, has_cancelled, 1);
    assert_true(server_conn_idle_since(f.conn) > began_usec);
    done(&f);
}

static void test_the_end_of_many_calls_is_a_burst(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    for (uint32_t i = 0; i <= MEMORY_BURST_CALLS; i++)
        say_call(&f, 2 * i + 1);
    wait_for(&f, has_kept, MEMORY_BURST_CALLS + 1);
    assert_int_equal(f.n_bursts, 0);
    for (uint32_t i = 0; i < MEMORY_BURST_CALLS - 1; i++)
        say_cancel(&f, 2 * i + 1);
    wait_for(&f, has_cancelled, MEMORY_BURST_CALLS - 1);
    assert_int_equal(f.n_bursts, 0);
    say_cancel(&f, 2 * MEMORY_BURST_CALLS - 1);
    wait_for(&f, has_cancelled, MEMORY_BURST_CALLS);
    assert_int_equal(f.n_bursts, 1);
    /* from there on it is counted anew */
    say_cancel(&f, 2 * MEMORY_BURST_CALLS + 1);
    wait_for(&f, has_cancelled, MEMORY_BURST_CALLS + 1);
    assert_int_equal(f.n_bursts, 1);
    done(&f);
}

static void test_many_bytes_are_a_burst(void **state)
{
    struct fixture f;
    static char address[2 * MEMORY_BURST_BYTES];

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    assert_true(server_conn_held_bytes(f.conn) <= MEMORY_BURST_BYTES);
    /* more than the peer's window lets out */
    memset(address, 'x', sizeof(address) - 1);
    rpc_reply(rpc_kept_take(&f.seen, 0), 0, address);
    assert_true(server_conn_held_bytes(f.conn) > MEMORY_BURST_BYTES);
    assert_false(server_conn_has_said_all(f.conn));
    assert_int_equal(f.n_bursts, 0); /* from the loop only */
    event_run_pending(f.event);
    assert_true(f.n_bursts > 0);
    done(&f);
}

static void test_a_peer_that_goes_ends_it_after_what_it_said(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    say_call(&f, 1);
    f.peer_fd = close_fd(f.peer_fd);
    wait_for(&f, has_ended, 1);
    assert_int_equal(f.n_ended, 1);
    assert_int_equal(f.seen.n_kept, 1);
    assert_int_equal(f.seen.n_cancelled, 1);
    assert_null(f.conn);
    done(&f);
}

static void test_a_peer_that_does_not_begin_ends_it(void **state)
{
    struct fixture f;
    bool is_closed;

    (void)state;
    init(&f, 1000);
    wait_for(&f, has_ended, 1);
    assert_int_equal(read_last_frame(&f, &is_closed), H2_GOAWAY);
    assert_true(is_closed);
    done(&f);
}

static void test_one_that_has_begun_is_not_waited_for(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, 500000);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    assert_int_equal(event_count_during(f.event, 600000), 0);
    assert_int_equal(f.n_ended, 0);
    done(&f);
}

static void test_shutdown_waits_for_calls_and_tells_the_end(void **state)
{
    struct fixture f;
    bool is_closed;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    server_conn_shutdown(f.conn);
    assert_int_equal(f.n_ended, 0);
    assert_int_equal(read_last_frame(&f, &is_closed), H2_GOAWAY);
    assert_false(is_closed);
    rpc_reply(rpc_kept_take(&f.seen, 0), 5, NULL);
    wait_for(&f, has_ended, 1);
    assert_int_equal(read_last_frame(&f, &is_closed), H2_HEADERS);
    assert_true(is_closed);
    done(&f);
}

static void test_an_idle_one_ends_in_its_shutdown(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    event_run_pending(f.event);
    server_conn_shutdown(f.conn);
    assert_int_equal(f.n_ended, 1);
    assert_null(f.conn);
    done(&f);
}

static void test_one_that_is_dismissed_says_so_and_tells_nobody(void **state)
{
    struct fixture f;
    bool is_closed;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    event_run_pending(f.event);
    server_conn_dismiss(TAKE_PTR(f.conn));
    assert_int_equal(f.n_ended, 0);
    assert_int_equal(read_last_frame(&f, &is_closed), H2_GOAWAY);
    assert_true(is_closed);
    done(&f);
}

static void test_one_that_is_freed_tells_its_calls_only(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, LONG_USEC);
    say_start(&f);
    say_call(&f, 1);
    wait_for(&f, has_kept, 1);
    unsigned n_worked = f.n_worked;
    f.conn = server_conn_free(f.conn);
    assert_int_equal(f.seen.n_cancelled, 1);
    event_run_pending(f.event);
    assert_int_equal(f.n_ended, 0);
    assert_int_equal(f.n_worked, n_worked);
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_its_owner_hears_of_each_event),
        FD_LEAK_TEST(test_it_counts_how_long_it_is_idle),
        FD_LEAK_TEST(test_the_end_of_many_calls_is_a_burst),
        FD_LEAK_TEST(test_many_bytes_are_a_burst),
        FD_LEAK_TEST(test_a_peer_that_goes_ends_it_after_what_it_said),
        FD_LEAK_TEST(test_a_peer_that_does_not_begin_ends_it),
        FD_LEAK_TEST(test_one_that_has_begun_is_not_waited_for),
        FD_LEAK_TEST(test_shutdown_waits_for_calls_and_tells_the_end),
        FD_LEAK_TEST(test_an_idle_one_ends_in_its_shutdown),
        FD_LEAK_TEST(test_one_that_is_dismissed_says_so_and_tells_nobody),
        FD_LEAK_TEST(test_one_that_is_freed_tells_its_calls_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
