/* Every limit of a connection is crossed on a real socket, while another connection is served. The
 * one who crosses it gets the error of the RFC, a line is logged, and the server goes on. What
 * connections cost as such (their number, those that say nothing): test_server.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/rpc/grpc/rpc_methods.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

static struct rpc_methods_seen seen;

/* --- the log --------------------------------------------------------------------------------- */

/* Of standard error only the descriptor: what is said about a failed test is seen. */
static int log_fd = -EBADF, saved_fd = -EBADF;

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, rpc_methods, &seen);
    log_set_level(LOG_LEVEL_WARN);
    saved_fd = dup(STDERR_FILENO);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(saved_fd >= 0 && log_fd >= 0);
    assert_int_equal(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
}

/* Ends the test; `text` was logged, and not once a frame. */
static void done(struct rpc_fixture *f, const char *text)
{
    static char log[65536];

    (void)dup2(saved_fd, STDERR_FILENO);
    saved_fd = close_fd(saved_fd);
    ssize_t n = pread(log_fd, log, sizeof(log) - 1, 0);
    assert_in_range(n, 0, sizeof(log) - 2);
    log[n] = '\0';
    log_fd = close_fd(log_fd);
    if (text == NULL)
        assert_string_equal(log, "");
    else if (strstr(log, text) == NULL)
        fail_msg("'%s' is not in the log:\n%s", text, log);
    rpc_expect_served(f->peer);
    rpc_fixture_done(f);
}

/* --- a peer that says what it likes ---------------------------------------------------------- */

struct raw {
    struct rpc_fixture *f;
    int fd;
    struct evbuffer *out, *in;
    uint32_t next_id;
    bool is_closed; /* by the server */
};

static void put_frame(struct raw *raw, enum h2_frame_type type, uint8_t flags, uint32_t id,
                      const void *payload, size_t n)
{
    uint8_t header[H2_FRAME_HEADER_SIZE];

    (void)h2_codec_encode_frame_header(header, n, type, flags, id);
    (void)evbuffer_add(raw->out, header, sizeof(header));
    if (n > 0)
        (void)evbuffer_add(raw->out, payload, n);
}

/* The headers of a call to RPC_KEEP, whose message is still to come. */
#define REQUEST                               \
    "\x83\x86\x04\x12" RPC_KEEP               \
    "\x0f\x10\x10" "application/grpc"         \
    "\x00\x02" "te" "\x08" "trailers"
_Static_assert(sizeof(RPC_KEEP) - 1 == 0x12, "the length above");

static uint32_t put_request(struct raw *raw)
{
    uint32_t id = raw->next_id;

    raw->next_id += 2;
    put_frame(raw, H2_HEADERS, H2_FLAG_END_HEADERS, id, BYTES(REQUEST));
    return id;
}

static void raw_init(struct raw *raw, struct rpc_fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    *raw = (struct raw){ f, .out = evbuffer_new(), .in = evbuffer_new(), .next_id = 1 };
    raw->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(connect(raw->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    (void)evbuffer_add(raw->out, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    put_frame(raw, H2_SETTINGS, 0, 0, NULL, 0);
}

static void raw_done(struct raw *raw)
{
    (void)close_fd(raw->fd);
    evbuffer_free(raw->out);
    evbuffer_free(raw->in);
}

static void read_all(struct raw *raw)
{
    int n;

    while ((n = evbuffer_read(raw->in, raw->fd, 65536)) > 0)
        ;
    raw->is_closed |= n == 0 || errno != EAGAIN;
}

/* All that is there, as far as the server takes it; the other connection is served in between. */
static void send_all(struct raw *raw)
{
    while (evbuffer_get_length(raw->out) > 0 && !raw->is_closed) {
        if (evbuffer_write(raw->out, raw->fd) < 0 && errno != EAGAIN) {
            (void)evbuffer_drain(raw->out, evbuffer_get_length(raw->out));
            read_all(raw); /* what it was told before */
        }
        rpc_expect_served(raw->f->peer);
        read_all(raw);
    }
}

static void wait_closed(struct raw *raw)
{
    rpc_fixture_wait_conns(raw->f, 1);
    read_all(raw);
    assert_true(raw->is_closed);
}

/* The error of the last frame of that type that came; UINT32_MAX: none. */
static uint32_t find_error(struct raw *raw, enum h2_frame_type type, uint32_t id)
{
    size_t n = evbuffer_get_length(raw->in), at = 0, size;
    const uint8_t *bytes = evbuffer_pullup(raw->in, -1);
    uint32_t error = UINT32_MAX;
    struct h2_frame frame;

    while (at + H2_FRAME_HEADER_SIZE <= n) {
        assert_int_equal(h2_codec_frame_size(bytes + at, &size), H2_NO_ERROR);
        if (at + size > n)
            break;
        assert_int_equal(h2_codec_decode_frame(bytes + at, size, &frame), H2_NO_ERROR);
        if (frame.type == type && type == H2_GOAWAY)
            assert_int_equal(h2_codec_decode_goaway(&frame, &error), H2_NO_ERROR);
        else if (frame.type == type && frame.stream_id == id)
            assert_int_equal(h2_codec_decode_rst_stream(&frame, &error), H2_NO_ERROR);
        at += size;
    }
    return error;
}

/* --- floods ---------------------------------------------------------------------------------- */

/* Each adds a piece of the flood; the first stream, 1, is a call that waits for its message. */
static void add_pings(struct raw *raw)
{
    put_frame(raw, H2_PING, 0, 0, BYTES("12345678"));
}

static void add_settings(struct raw *raw)
{
    put_frame(raw, H2_SETTINGS, 0, 0, BYTES("\0\4\0\1\0\0"));
}

static void add_acks(struct raw *raw)
{
    put_frame(raw, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
}

static void add_rapid_resets(struct raw *raw)
{
    put_frame(raw, H2_RST_STREAM, 0, put_request(raw), BYTES("\0\0\0\10"));
}

/* The same by faults: the server resets them. */
static void add_faulty_requests(struct raw *raw)
{
    put_frame(raw, H2_HEADERS, H2_FLAG_END_HEADERS, raw->next_id, BYTES("\x83"));
    raw->next_id += 2;
}

static void add_late_resets(struct raw *raw)
{
    put_frame(raw, H2_RST_STREAM, 0, 1, BYTES("\0\0\0\10"));
}

static void add_empty_data(struct raw *raw)
{
    put_frame(raw, H2_DATA, 0, 1, NULL, 0);
}

static void add_padding(struct raw *raw)
{
    put_frame(raw, H2_DATA, H2_FLAG_PADDED, 1, BYTES("\3\0\0\0"));
}

static void add_conn_updates(struct raw *raw)
{
    put_frame(raw, H2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\1"));
}

static void add_stream_updates(struct raw *raw)
{
    put_frame(raw, H2_WINDOW_UPDATE, 0, 1, BYTES("\0\0\0\1"));
}

static void add_priorities(struct raw *raw)
{
    put_frame(raw, H2_PRIORITY, 0, 77, BYTES("\0\0\0\0\7"));
}

static void add_unknown_frames(struct raw *raw)
{
    put_frame(raw, (enum h2_frame_type)0xee, 0, 0, BYTES("x"));
}

static void add_goaways(struct raw *raw)
{
    put_frame(raw, H2_GOAWAY, 0, 0, BYTES("\0\0\0\0\0\0\0\0"));
}

#define IDLE  "ENHANCE_YOUR_CALM: too many frames that carry nothing"
#define RESET "ENHANCE_YOUR_CALM: too many streams end by a reset"

static const struct {
    const char *name;
    void (*add)(struct raw *raw);
    const char *log;
} floods[] = {
    { "PING", add_pings, IDLE },
    { "SETTINGS", add_settings, IDLE },
    { "SETTINGS acks", add_acks, IDLE },
    { "rapid resets", add_rapid_resets, RESET },
    { "faulty requests", add_faulty_requests, RESET },
    { "RST_STREAM of an old stream", add_late_resets, IDLE },
    { "empty DATA", add_empty_data, IDLE },
    { "DATA of padding", add_padding, IDLE },
    { "WINDOW_UPDATE of the connection", add_conn_updates, IDLE },
    { "WINDOW_UPDATE of a stream", add_stream_updates, IDLE },
    { "PRIORITY", add_priorities, IDLE },
    { "unknown frames", add_unknown_frames, IDLE },
    { "GOAWAY", add_goaways, IDLE },
};

static void test_floods_end_their_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        struct rpc_fixture f;
        struct raw raw;
        size_t n = 0;

        init(&f);
        raw_init(&raw, &f);
        (void)put_request(&raw);
        /* however much it is given back for the time that this takes */
        for (; !raw.is_closed && n < 1000000; n++) {
            floods[i].add(&raw);
            if (evbuffer_get_length(raw.out) >= 65536)
                send_all(&raw);
        }
        if (!raw.is_closed)
            fail_msg("%s: not limited", floods[i].name);
        wait_closed(&raw);
        if (n < H2_RESETS_BURST)
            fail_msg("%s: refused after %zu", floods[i].name, n);
        assert_int_equal(find_error(&raw, H2_GOAWAY, 0), H2_ENHANCE_YOUR_CALM);
        raw_done(&raw);
        done(&f, floods[i].log);
        assert_int_equal(seen.n_kept, 0); /* no handler was troubled */
    }
}

/* --- headers and frames that are too large --------------------------------------------------- */

static void add_long_block(struct raw *raw)
{
    uint8_t part[H2_FRAME_PAYLOAD_MAX] = {};

    memset(part, 0x90, sizeof(part));
    put_frame(raw, H2_HEADERS, 0, 1, part, sizeof(part));
    put_frame(raw, H2_CONTINUATION, H2_FLAG_END_HEADERS, 1, part, 1);
}

static void add_continuations(struct raw *raw)
{
    put_frame(raw, H2_HEADERS, 0, 1, BYTES(REQUEST));
    for (unsigned i = 0; i <= H2_CONTINUATIONS_MAX; i++)
        put_frame(raw, H2_CONTINUATION, 0, 1, NULL, 0);
}

static void add_long_frame(struct raw *raw)
{
    (void)evbuffer_add(raw->out, BYTES("\x00\x40\x01\0\0\0\0\0\1"));
}

static const struct {
    void (*add)(struct raw *raw);
    enum h2_frame_type type; /* of the answer */
    enum h2_error error;
    const char *log;
} excesses[] = {
    { add_long_block, H2_GOAWAY, H2_ENHANCE_YOUR_CALM,
      "ENHANCE_YOUR_CALM: a header block is longer than 16384 bytes" },
    { add_continuations, H2_GOAWAY, H2_ENHANCE_YOUR_CALM,
      "ENHANCE_YOUR_CALM: too many CONTINUATION frames for one header block" },
    { add_long_frame, H2_GOAWAY, H2_FRAME_SIZE_ERROR,
      "FRAME_SIZE_ERROR: a frame is longer than 16384 bytes" },
};

static void test_what_is_too_large_ends_its_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(excesses) / sizeof(excesses[0]); i++) {
        struct rpc_fixture f;
        struct raw raw;

        init(&f);
        raw_init(&raw, &f);
        excesses[i].add(&raw);
        send_all(&raw);
        wait_closed(&raw);
        assert_int_equal(find_error(&raw, excesses[i].type, 1), excesses[i].error);
        raw_done(&raw);
        done(&f, excesses[i].log);
    }
}

static void put_many_headers(struct raw *raw, size_t n)
{
    CLEANUP_FREE uint8_t *block = alloc_zero(1, sizeof(REQUEST) - 1 + n);

    memcpy(block, BYTES(REQUEST));
    memset(block + sizeof(REQUEST) - 1, 0x90, n);
    put_frame(raw, H2_HEADERS, H2_FLAG_END_HEADERS, raw->next_id, block, sizeof(REQUEST) - 1 + n);
    raw->next_id += 2;
}

/* An error of the stream: its connection is served on, too. */
static void test_too_many_headers_end_their_stream(void **state)
{
    struct rpc_fixture f;
    struct raw raw;

    (void)state;
    init(&f);
    raw_init(&raw, &f);
    put_many_headers(&raw, 100);
    put_many_headers(&raw, 10000);
    (void)put_request(&raw);
    send_all(&raw);
    rpc_fixture_settle(&f);
    read_all(&raw);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, 1), UINT32_MAX);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, 3), H2_ENHANCE_YOUR_CALM);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, 5), UINT32_MAX);
    assert_false(raw.is_closed);
    raw_done(&raw);
    done(&f, "RPC stream 3: ENHANCE_YOUR_CALM: too many headers, or too long ones");
}

/* --- streams, messages, answers -------------------------------------------------------------- */

static void test_streams_beyond_the_limit_are_refused(void **state)
{
    struct rpc_fixture f;
    struct raw raw;

    (void)state;
    init(&f);
    raw_init(&raw, &f);
    for (unsigned i = 0; i < H2_STREAMS_MAX; i++)
        (void)put_request(&raw);
    uint32_t refused = put_request(&raw);
    put_frame(&raw, H2_RST_STREAM, 0, 1, BYTES("\0\0\0\10"));
    uint32_t fits = put_request(&raw);
    send_all(&raw);
    rpc_fixture_settle(&f);
    read_all(&raw);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, refused), H2_REFUSED_STREAM);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, refused - 2), UINT32_MAX);
    assert_int_equal(find_error(&raw, H2_RST_STREAM, fits), UINT32_MAX);
    assert_false(raw.is_closed);
    raw_done(&raw);
    done(&f, "REFUSED_STREAM: too many streams are open");
}

static void test_messages_that_are_half_received_are_limited(void **state)
{
    const size_t n_body = GRPC_WIRE_PREFIX_SIZE + GRPC_WIRE_MESSAGE_MAX - 1;
    CLEANUP_FREE uint8_t *body = alloc_zero(1, n_body);
    const struct grpc_request request = {
        .path = RPC_KEEP, .body = body, .n_body = n_body, .open = true
    };
    struct rpc_fixture f;

    (void)state;
    grpc_wire_prefix(body, GRPC_WIRE_MESSAGE_MAX);
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    for (size_t i = 0; i < CALL_HELD_MAX / GRPC_WIRE_MESSAGE_MAX; i++) {
        grpc_call_wait_sent(grpc_peer_call(peer, &request));
        rpc_expect_served(f.peer);
    }
    grpc_call_expect(grpc_peer_call(peer, &request), GRPC_RESOURCE_EXHAUSTED,
                     RPC_KEEP ": too many requests are held in memory");
    rpc_expect_served(f.peer);
    assert_null(grpc_peer_free(peer));
    rpc_fixture_wait_conns(&f, 1);
    done(&f, RPC_KEEP ": too many requests are held in memory");
}

static void test_a_message_that_is_too_large_is_refused_by_its_prefix(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    grpc_call_expect(
        grpc_peer_call(peer,
                       &(struct grpc_request){
                           .path = RPC_KEEP, .body = "\0\0\x40\0\1", .n_body = 5, .open = true }),
        GRPC_RESOURCE_EXHAUSTED, RPC_KEEP ": the request is larger than 4 MiB");
    rpc_expect_served(f.peer);
    rpc_expect_served(peer);
    assert_null(grpc_peer_free(peer));
    done(&f, RPC_KEEP ": the request is larger than 4 MiB");
}

/* Its windows are the smallest, so all waits with us. */
static void test_answers_that_wait_for_their_reader_are_limited(void **state)
{
    struct grpc_call *calls[H2_QUEUED_MAX / RPC_FLOOD_BYTES + 1];
    const size_t n = sizeof(calls) / sizeof(calls[0]);
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_peer *peer = grpc_peer_new_without_updates(f.event, f.path);
    for (size_t i = 0; i < n; i++) {
        calls[i] = rpc_call(peer, RPC_FLOOD, 1);
        rpc_expect_served(f.peer);
    }
    grpc_call_expect(calls[n - 1], GRPC_RESOURCE_EXHAUSTED,
                     RPC_FLOOD ": too much is queued for a peer that does not read");
    for (size_t i = 0; i < n - 1; i++)
        assert_false(grpc_call_is_over(calls[i]));
    assert_null(grpc_peer_free(peer));
    done(&f, RPC_FLOOD ": too much is queued for a peer that does not read");
}

/* It costs what its socket and one output hold, and is not heard until it reads; then it is. */
static void test_a_peer_that_does_not_read_is_not_heard(void **state)
{
    struct rpc_fixture f;
    struct raw raw;

    (void)state;
    init(&f);
    raw_init(&raw, &f);
    for (unsigned i = 0; i < H2_IDLE_FRAMES_BURST / 2; i++) /* no flood: 136 KiB a way */
        add_pings(&raw);
    size_t n_before, n_after = evbuffer_get_length(raw.out);
    do {
        n_before = n_after;
        (void)evbuffer_write(raw.out, raw.fd);
        rpc_expect_served(f.peer);
        n_after = evbuffer_get_length(raw.out);
    } while (n_after < n_before);
    send_all(&raw); /* reads */
    rpc_fixture_settle(&f);
    read_all(&raw);
    assert_false(raw.is_closed);
    assert_true(evbuffer_get_length(raw.in) >= H2_IDLE_FRAMES_BURST / 2 * 17);
    raw_done(&raw);
    done(&f, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_floods_end_their_connection),
        FD_LEAK_TEST(test_what_is_too_large_ends_its_connection),
        FD_LEAK_TEST(test_too_many_headers_end_their_stream),
        FD_LEAK_TEST(test_streams_beyond_the_limit_are_refused),
        FD_LEAK_TEST(test_messages_that_are_half_received_are_limited),
        FD_LEAK_TEST(test_a_message_that_is_too_large_is_refused_by_its_prefix),
        FD_LEAK_TEST(test_answers_that_wait_for_their_reader_are_limited),
        FD_LEAK_TEST(test_a_peer_that_does_not_read_is_not_heard),
    };

    stderr = fdopen(dup(STDERR_FILENO), "w");
    setbuf(stderr, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
