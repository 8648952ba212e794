/* What a peer may cost: every limit of h2_conn.h, and the answer to the one who exceeds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/h2/h2_fixture.h"

#define SEC 1000000u
#define BYTES(literal) (literal), sizeof(literal) - 1
#define REQUEST "\x83\x86\x84" /* POST, http, / */

static void assert_said(struct h2_fixture *f, const char *said)
{
    h2_fixture_run(f);
    assert_string_equal(h2_fixture_said(f), said);
}

/* --- frames that carry nothing --------------------------------------------------------------- */

/* Stream 1 is open, 3 over, 5 reset by us. */
static void init_scene(struct h2_fixture *f)
{
    h2_fixture_init_open(f);
    h2_fixture_put_request(f, 1, 0);
    h2_fixture_put_request(f, 3, H2_FLAG_END_STREAM);
    h2_fixture_put_request(f, 5, 0);
    h2_fixture_run(f);
    h2_fixture_end(f, 3);
    h2_fixture_reset(f, 5, H2_CANCEL);
    h2_fixture_run(f);
    (void)h2_fixture_said(f);
}

static const struct {
    const char *name;
    enum h2_frame_type type;
    uint8_t flags;
    uint32_t id;
    const char *payload;
    size_t n;
} idle_frames[] = {
    { "PING", H2_PING, 0, 0, BYTES("12345678") },
    { "PING ack", H2_PING, H2_FLAG_ACK, 0, BYTES("12345678") },
    { "SETTINGS", H2_SETTINGS, 0, 0, BYTES("") },
    { "SETTINGS with a value", H2_SETTINGS, 0, 0, BYTES("\0\4\0\1\0\0") },
    { "SETTINGS ack", H2_SETTINGS, H2_FLAG_ACK, 0, BYTES("") },
    { "PRIORITY", H2_PRIORITY, 0, 9, BYTES("\0\0\0\0\7") },
    { "GOAWAY", H2_GOAWAY, 0, 0, BYTES("\0\0\0\0\0\0\0\0") },
    { "WINDOW_UPDATE of a stream", H2_WINDOW_UPDATE, 0, 1, BYTES("\0\0\0\1") },
    { "WINDOW_UPDATE of the connection", H2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\1") },
    { "WINDOW_UPDATE of an old stream", H2_WINDOW_UPDATE, 0, 3, BYTES("\0\0\0\1") },
    { "empty DATA", H2_DATA, 0, 1, BYTES("") },
    { "DATA of padding", H2_DATA, H2_FLAG_PADDED, 1, BYTES("\3\0\0\0") },
    { "DATA of a stream we reset", H2_DATA, 0, 5, BYTES("x") },
    { "HEADERS of a stream we reset", H2_HEADERS, H2_FLAG_END_HEADERS, 5, BYTES(REQUEST) },
    { "RST_STREAM of an old stream", H2_RST_STREAM, 0, 3, BYTES("\0\0\0\10") },
    { "an unknown type", (enum h2_frame_type)0xee, 0, 0, BYTES("x") },
};

static void put_idle(struct h2_fixture *f, size_t row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h2_fixture_put_frame(f, idle_frames[row].type, idle_frames[row].flags, idle_frames[row].id,
                             idle_frames[row].payload, idle_frames[row].n);
    h2_fixture_run(f);
}

/* The two SETTINGS at the start count. */
static void test_frames_that_carry_nothing_are_limited(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof(idle_frames) / sizeof(idle_frames[0]); row++) {
        struct h2_fixture f;

        init_scene(&f);
        put_idle(&f, row, H2_IDLE_FRAMES_BURST - 2);
        f.now_usec += SEC;
        put_idle(&f, row, H2_IDLE_FRAMES_PER_SECOND);
        if (h2_conn_is_done(f.conn))
            fail_msg("%s: refused below the limit", idle_frames[row].name);
        put_idle(&f, row, 1);
        if (h2_fixture_n_said(&f, "GOAWAY 5 ENHANCE_YOUR_CALM") != 1)
            fail_msg("%s: not limited", idle_frames[row].name);
        h2_fixture_done(&f);
    }
}

/* A reader of much data sends two updates a frame of ours, however long it goes on. */
static void test_window_updates_of_a_peer_that_reads_are_not_limited(void **state)
{
    struct h2_fixture f;

    (void)state;
    init_scene(&f);
    for (unsigned i = 0; i < 2 * H2_IDLE_FRAMES_BURST; i++) {
        h2_fixture_send(&f, 1, 1);
        h2_fixture_put_window_update(&f, 0, 1);
        h2_fixture_put_window_update(&f, 1, 1);
        h2_fixture_run(&f);
    }
    assert_false(h2_conn_is_done(f.conn));
    h2_fixture_done(&f);
}

/* --- resets ---------------------------------------------------------------------------------- */

static void put_cancelled(struct h2_fixture *f, uint32_t id)
{
    h2_fixture_put_request(f, id, 0);
    h2_fixture_put_frame(f, H2_RST_STREAM, 0, id, BYTES("\0\0\0\10"));
}

static void put_malformed(struct h2_fixture *f, uint32_t id)
{
    h2_fixture_put_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS, id, BYTES("\x83"));
}

static void put_beyond_window(struct h2_fixture *f, uint32_t id)
{
    h2_fixture_put_request(f, id, 0);
    h2_fixture_put_window_update(f, id, H2_WINDOW_MAX);
}

static void put_closed_data(struct h2_fixture *f, uint32_t id)
{
    h2_fixture_put_request(f, id, H2_FLAG_END_STREAM);
    h2_fixture_put_frame(f, H2_DATA, 0, id, BYTES("x"));
}

static void test_streams_that_end_by_a_reset_are_limited(void **state)
{
    static void (*const ways[])(struct h2_fixture *, uint32_t) = {
        put_cancelled, put_malformed, put_beyond_window, put_closed_data,
    };

    (void)state;
    for (size_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
        struct h2_fixture f;
        uint32_t id = 1;

        h2_fixture_init_open(&f);
        for (unsigned i = 0; i < H2_RESETS_BURST; i++, id += 2)
            ways[way](&f, id);
        h2_fixture_run(&f);
        f.now_usec += SEC;
        for (unsigned i = 0; i < H2_RESETS_PER_SECOND; i++, id += 2)
            ways[way](&f, id);
        h2_fixture_run(&f);
        assert_false(h2_conn_is_done(f.conn));
        assert_int_equal(h2_conn_n_streams(f.conn), 0);
        ways[way](&f, id);
        h2_fixture_run(&f);
        assert_int_equal(h2_fixture_n_said(&f, "GOAWAY"), 1);
        assert_non_null(strstr(h2_fixture_said(&f), " ENHANCE_YOUR_CALM\n"));
        h2_fixture_done(&f);
    }
}

/* --- streams --------------------------------------------------------------------------------- */

static void test_streams_are_limited_and_the_table_stays_in_step(void **state)
{
    static const char adds[] = REQUEST "\x40\x01x\x01y", uses[] = REQUEST "\xbe";
    struct h2_fixture f;
    uint32_t id = 1;

    (void)state;
    h2_fixture_init_open(&f);
    for (unsigned i = 0; i < H2_STREAMS_MAX; i++, id += 2)
        h2_fixture_put_request(&f, id, 0);
    assert_said(&f, "");
    assert_int_equal(h2_conn_n_streams(f.conn), H2_STREAMS_MAX);
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS, id, BYTES(adds));
    assert_said(&f, "RST_STREAM 8193 REFUSED_STREAM\n");
    h2_fixture_end(&f, 777);
    (void)h2_fixture_told(&f);
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS, id + 2, BYTES(uses));
    assert_said(&f, "HEADERS 777 end\nRST_STREAM 777 NO_ERROR\n");
    assert_string_equal(h2_fixture_told(&f), "request 8195 POST /\n");
    h2_fixture_put_request(&f, id + 4, 0);
    assert_said(&f, "RST_STREAM 8197 REFUSED_STREAM\n");
    h2_fixture_done(&f);
}

/* What a peer sends before it knows of a reset is ignored; so many resets are remembered. */
static void test_late_data_of_streams_long_reset_is_an_error_of_the_stream_only(void **state)
{
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    for (uint32_t id = 1; id < 601; id += 2)
        put_malformed(&f, id);
    h2_fixture_run(&f);
    (void)h2_fixture_said(&f);
    h2_fixture_put_frame(&f, H2_DATA, 0, 599, BYTES("x"));
    assert_said(&f, "");
    h2_fixture_put_frame(&f, H2_DATA, 0, 1, BYTES("x"));
    assert_said(&f, "RST_STREAM 1 STREAM_CLOSED\n");
    h2_fixture_done(&f);
}

/* --- header blocks --------------------------------------------------------------------------- */

/* A request in HEADERS and `n` CONTINUATION frames, of which the last ends it. */
static void put_continued(struct h2_fixture *f, unsigned n, size_t n_bytes)
{
    CLEANUP_FREE uint8_t *part = alloc_zero(1, n_bytes + 1);

    memset(part, 0x90, n_bytes); /* "accept-encoding: gzip, deflate" each */
    h2_fixture_put_frame(f, H2_HEADERS, 0, 1, BYTES(REQUEST));
    for (unsigned i = 1; i < n; i++)
        h2_fixture_put_frame(f, H2_CONTINUATION, 0, 1, NULL, 0);
    h2_fixture_put_frame(f, H2_CONTINUATION, H2_FLAG_END_HEADERS, 1, part, n_bytes);
}

static void test_header_blocks_are_limited_in_frames_and_bytes(void **state)
{
    static const struct {
        unsigned n;
        size_t n_bytes;
        const char *said;
    } rows[] = {
        { 1, 1, "" },
        { H2_CONTINUATIONS_MAX, 0, "" },
        { H2_CONTINUATIONS_MAX + 1, 0, "GOAWAY 0 ENHANCE_YOUR_CALM\n" },
        { 1, H2_HEADER_BLOCK_MAX - 3, "RST_STREAM 1 ENHANCE_YOUR_CALM\n" }, /* the list's */
        { 1, H2_HEADER_BLOCK_MAX - 2, "GOAWAY 0 ENHANCE_YOUR_CALM\n" },
        { 1, H2_HEADER_BLOCK_MAX, "GOAWAY 0 ENHANCE_YOUR_CALM\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct h2_fixture f;

        h2_fixture_init_open(&f);
        put_continued(&f, rows[i].n, rows[i].n_bytes);
        assert_said(&f, rows[i].said);
        h2_fixture_done(&f);
    }
}

/* By what they are, not by how few bytes say it; in trailers, too. */
static void test_lists_of_headers_are_limited(void **state)
{
    const size_t n_max = H2_HEADER_LIST_MAX / (strlen("accept-encodinggzip, deflate") + 32);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct h2_fixture f;
        size_t n = n_max + i % 2;
        CLEANUP_FREE uint8_t *block = alloc_zero(1, n + 3);
        bool are_trailers = i >= 2;

        h2_fixture_init_open(&f);
        if (are_trailers)
            h2_fixture_put_request(&f, 1, 0);
        memcpy(block, REQUEST, 3);
        memset(block + 3, 0x90, n);
        h2_fixture_put_frame(&f, H2_HEADERS,
                             H2_FLAG_END_HEADERS | (are_trailers ? H2_FLAG_END_STREAM : 0), 1,
                             block + (are_trailers ? 3 : 0), n + (are_trailers ? 0 : 3));
        assert_said(&f, i % 2 == 0 ? "" : "RST_STREAM 1 ENHANCE_YOUR_CALM\n");
        h2_fixture_put_request(&f, 3, 0);
        h2_fixture_run(&f);
        h2_fixture_end(&f, 3); /* in step */
        h2_fixture_done(&f);
    }
}

/* A flood without an end, as of CVE-2024-27316. */
static void test_continuations_without_end_are_refused_early(void **state)
{
    struct h2_fixture f;
    uint8_t part[1024];

    (void)state;
    memset(part, 0x90, sizeof(part));
    h2_fixture_init_open(&f);
    h2_fixture_put_frame(&f, H2_HEADERS, 0, 1, BYTES(REQUEST));
    for (unsigned i = 0; i < 1000; i++)
        h2_fixture_put_frame(&f, H2_CONTINUATION, 0, 1, part, sizeof(part));
    assert_said(&f, "GOAWAY 0 ENHANCE_YOUR_CALM\n");
    h2_fixture_done(&f);
}

/* --- output ---------------------------------------------------------------------------------- */

/* One frame may be added to an output that is just not full. */
#define OUTPUT_MAX (H2_OUTPUT_MAX + H2_FRAME_HEADER_SIZE + H2_FRAME_PAYLOAD_MAX)

static size_t n_output(const struct h2_fixture *f)
{
    return evbuffer_get_length(h2_conn_output(f->conn));
}

/* A peer that asks and never reads is not heard any more, until it reads: then it goes on. */
static void test_a_peer_that_does_not_read_is_not_heard(void **state)
{
    struct h2_fixture f;
    const unsigned n = H2_IDLE_FRAMES_BURST - 2;

    (void)state;
    h2_fixture_init_open(&f);
    for (unsigned i = 0; i < n; i++)
        h2_fixture_put_frame(&f, H2_PING, 0, 0, BYTES("12345678"));
    h2_fixture_run_unread(&f);
    assert_false(h2_conn_wants_input(f.conn));
    assert_in_range(n_output(&f), H2_OUTPUT_MAX, OUTPUT_MAX);
    size_t n_left = evbuffer_get_length(h2_conn_input(f.conn));
    assert_true(n_left > 0);
    h2_fixture_run_unread(&f);
    assert_int_equal(evbuffer_get_length(h2_conn_input(f.conn)), n_left);
    h2_fixture_run(&f);
    assert_int_equal(h2_fixture_n_said(&f, "PING ack"), n);
    assert_true(h2_conn_wants_input(f.conn));
    h2_fixture_done(&f);
}

/* Each byte that it takes makes room for one frame's answer, not for another read. */
static void test_a_peer_that_reads_slowly_is_not_heard_before_what_it_said(void **state)
{
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    for (unsigned i = 0; i < 2 * H2_IDLE_FRAMES_BURST; i++)
        h2_fixture_put_frame(&f, H2_PING, 0, 0, BYTES("12345678"));
    h2_fixture_run_unread(&f);
    assert_true(evbuffer_get_length(h2_conn_input(f.conn)) > H2_FRAME_PAYLOAD_MAX * 2);
    size_t n_over = n_output(&f) - H2_OUTPUT_MAX;
    assert_int_equal(evbuffer_drain(h2_conn_output(f.conn), n_over + 1), 0);
    assert_false(h2_conn_wants_input(f.conn));
    h2_fixture_done(&f);
}

static void test_answers_for_a_peer_that_does_not_read_stay_queued(void **state)
{
    struct h2_fixture f;

    (void)state;
    init_scene(&f);
    h2_fixture_put_initial_window(&f, H2_WINDOW_MAX);
    h2_fixture_put_window_update(&f, 0, H2_WINDOW_MAX - H2_WINDOW_DEFAULT);
    h2_fixture_run(&f);
    f.n_out = 0;
    for (unsigned i = 0; i < 8; i++) {
        h2_fixture_send(&f, 1, 1 << 20);
        h2_fixture_run_unread(&f);
        assert_in_range(n_output(&f), H2_OUTPUT_MAX, OUTPUT_MAX);
    }
    assert_true(h2_stream_queued_bytes(h2_fixture_stream(&f, 1)) >= (8 << 20) - OUTPUT_MAX);
    h2_fixture_run(&f);
    assert_int_equal(h2_stream_queued_bytes(h2_fixture_stream(&f, 1)), 0);
    size_t n_frames = h2_fixture_n_said(&f, "DATA 1");
    assert_int_equal(f.n_out - n_frames * H2_FRAME_HEADER_SIZE, 8 << 20);
    h2_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_frames_that_carry_nothing_are_limited),
        FD_LEAK_TEST(test_window_updates_of_a_peer_that_reads_are_not_limited),
        FD_LEAK_TEST(test_streams_that_end_by_a_reset_are_limited),
        FD_LEAK_TEST(test_streams_are_limited_and_the_table_stays_in_step),
        FD_LEAK_TEST(test_late_data_of_streams_long_reset_is_an_error_of_the_stream_only),
        FD_LEAK_TEST(test_header_blocks_are_limited_in_frames_and_bytes),
        FD_LEAK_TEST(test_lists_of_headers_are_limited),
        FD_LEAK_TEST(test_continuations_without_end_are_refused_early),
        FD_LEAK_TEST(test_a_peer_that_does_not_read_is_not_heard),
        FD_LEAK_TEST(test_a_peer_that_reads_slowly_is_not_heard_before_what_it_said),
        FD_LEAK_TEST(test_answers_for_a_peer_that_does_not_read_stay_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
