/* Flow control both ways, the order of answers, and what a stream's user may do. */
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
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/h2/h2_fixture.h"

/* `n` requests, ended or not, and small windows of the peer. */
static void init(struct h2_fixture *f, uint32_t window, unsigned n)
{
    h2_fixture_init_open(f);
    h2_fixture_put_initial_window(f, window);
    for (unsigned i = 0; i < n; i++)
        h2_fixture_put_request(f, 1 + 2 * i, H2_FLAG_END_STREAM);
    h2_fixture_run(f);
    (void)h2_fixture_told(f);
    (void)h2_fixture_said(f);
}

static void assert_said(struct h2_fixture *f, const char *said)
{
    h2_fixture_run(f);
    assert_string_equal(h2_fixture_said(f), said);
}

/* --- out: the peer's windows ----------------------------------------------------------------- */

static void test_answers_are_cut_to_frames_and_to_the_stream_s_window(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 40000, 1);
    h2_fixture_send(&f, 1, 50000);
    assert_int_equal(h2_stream_queued_bytes(h2_fixture_stream(&f, 1)), 10000);
    assert_said(&f, "DATA 1 16384\nDATA 1 16384\nDATA 1 7232\n");
    h2_fixture_put_window_update(&f, 1, 9999);
    assert_said(&f, "DATA 1 9999\n");
    assert_string_equal(h2_fixture_told(&f), "output\noutput\noutput\n");
    h2_fixture_put_window_update(&f, 1, 100);
    assert_said(&f, "DATA 1 1\n");
    assert_string_equal(h2_fixture_told(&f), "drain 1\n");
    h2_fixture_end(&f, 1);
    assert_said(&f, "HEADERS 1 end\n");
    h2_fixture_done(&f);
}

static void test_answers_share_the_connection_s_window(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 1 << 20, 2);
    h2_fixture_send(&f, 1, 65000);
    h2_fixture_send(&f, 3, 1000);
    h2_fixture_end(&f, 3);
    h2_fixture_end(&f, 1); /* all of it is out: this needs no window */
    assert_said(&f, "DATA 1 16384\nDATA 1 16384\nDATA 1 16384\nDATA 1 15848\nDATA 3 535\n"
                    "HEADERS 1 end\n");
    h2_fixture_put_window_update(&f, 0, 465);
    assert_said(&f, "DATA 3 465\nHEADERS 3 end\n");
    h2_fixture_done(&f);
}

/* Streams take turns, a frame each: a large answer does not hold up a small one. */
static void test_waiting_streams_take_turns(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 1 << 20, 3);
    h2_fixture_send(&f, 1, 65535);
    h2_fixture_send(&f, 1, 40000);
    h2_fixture_send(&f, 3, 40000);
    h2_fixture_send(&f, 5, 10);
    h2_fixture_end(&f, 5);
    h2_fixture_run(&f);
    (void)h2_fixture_said(&f);
    h2_fixture_put_window_update(&f, 0, 1 << 20);
    assert_said(&f, "DATA 1 16384\nDATA 3 16384\nDATA 5 10\nHEADERS 5 end\nDATA 1 16384\n"
                    "DATA 3 16384\nDATA 1 7232\nDATA 3 7232\n");
    h2_fixture_done(&f);
}

/* RFC 9113 section 6.9.2: the windows of streams that are there move, below zero too. */
static void test_a_changed_initial_window_moves_the_windows_of_all_streams(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 2);
    h2_fixture_send(&f, 1, 150);
    assert_said(&f, "DATA 1 100\n");
    h2_fixture_put_initial_window(&f, 20); /* stream 1: -80; stream 3: 20 */
    assert_said(&f, "SETTINGS ack\n");
    h2_fixture_send(&f, 3, 30);
    assert_said(&f, "DATA 3 20\n");
    h2_fixture_put_window_update(&f, 1, 80); /* 0 */
    assert_said(&f, "");
    h2_fixture_put_window_update(&f, 1, 1);
    assert_said(&f, "DATA 1 1\n");
    h2_fixture_put_initial_window(&f, 25); /* 5 more each */
    assert_said(&f, "SETTINGS ack\nDATA 1 5\nDATA 3 5\n");
    h2_fixture_put_initial_window(&f, 1000);
    h2_fixture_end(&f, 1);
    h2_fixture_end(&f, 3);
    assert_said(&f, "SETTINGS ack\nDATA 1 44\nHEADERS 1 end\nDATA 3 5\nHEADERS 3 end\n");
    h2_fixture_done(&f);
}

/* A stream that may send and is then taken its window, before the connection's lets it. */
static void test_a_window_taken_away_while_waiting_for_the_connection_s(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 65535, 2);
    h2_fixture_send(&f, 1, 65535); /* the connection's */
    h2_fixture_send(&f, 3, 100);
    h2_fixture_run(&f);
    (void)h2_fixture_said(&f);
    h2_fixture_put_initial_window(&f, 0);
    h2_fixture_put_window_update(&f, 0, 1000);
    assert_said(&f, "SETTINGS ack\n");
    h2_fixture_put_window_update(&f, 3, 40);
    assert_said(&f, "DATA 3 40\n");
    h2_fixture_end(&f, 3);
    h2_fixture_put_initial_window(&f, 60);
    assert_said(&f, "SETTINGS ack\nDATA 3 60\nHEADERS 3 end\n");
    h2_fixture_done(&f);
}

static void test_windows_above_the_largest_are_errors(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 2);
    h2_fixture_put_window_update(&f, 1, H2_WINDOW_MAX - 100); /* just right */
    h2_fixture_put_window_update(&f, 3, H2_WINDOW_MAX - 99);
    h2_fixture_put_window_update(&f, 0, H2_WINDOW_MAX - H2_WINDOW_DEFAULT);
    assert_said(&f, "RST_STREAM 3 FLOW_CONTROL_ERROR\n");
    h2_fixture_put_initial_window(&f, 101);
    assert_said(&f, "GOAWAY 3 FLOW_CONTROL_ERROR\n");
    h2_fixture_done(&f);

    init(&f, 100, 1);
    h2_fixture_put_window_update(&f, 0, H2_WINDOW_MAX - H2_WINDOW_DEFAULT + 1);
    assert_said(&f, "GOAWAY 1 FLOW_CONTROL_ERROR\n");
    h2_fixture_done(&f);

    init(&f, 100, 0);
    h2_fixture_put_initial_window(&f, (uint32_t)H2_WINDOW_MAX + 1);
    assert_said(&f, "GOAWAY 0 FLOW_CONTROL_ERROR\n");
    h2_fixture_done(&f);
}

static void test_a_reset_drops_what_waits(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 3);
    for (uint32_t id = 1; id <= 5; id += 2)
        h2_fixture_send(&f, id, 1000);
    h2_fixture_end(&f, 1);
    h2_fixture_run(&f);
    (void)h2_fixture_told(&f);
    (void)h2_fixture_said(&f);
    h2_fixture_put_frame(&f, H2_RST_STREAM, 0, 1, "\0\0\0\10", 4);
    h2_fixture_put_frame(&f, H2_RST_STREAM, 0, 3, "\0\0\0\10", 4);
    h2_fixture_run(&f);
    h2_fixture_reset(&f, 5, H2_INTERNAL_ERROR);
    h2_fixture_put_initial_window(&f, 10000);
    assert_said(&f, "RST_STREAM 5 INTERNAL_ERROR\nSETTINGS ack\n");
    assert_string_equal(h2_fixture_told(&f), "reset 3 CANCEL\noutput\n");
    assert_int_equal(h2_conn_n_streams(f.conn), 0);
    h2_fixture_done(&f);
}

/* What waits is counted over all streams, and comes back when they end. */
static void test_answers_that_wait_are_limited(void **state)
{
    struct h2_fixture f;
    const size_t piece = 4 << 20;
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, H2_QUEUED_MAX + 1);

    (void)state;
    init(&f, 0, 3);
    for (unsigned i = 0; i < H2_QUEUED_MAX / piece - 1; i++)
        h2_fixture_send(&f, 1, piece);
    assert_int_equal(h2_stream_send_data(h2_fixture_stream(&f, 3), bytes, piece + 1), -ENOBUFS);
    assert_int_equal(h2_stream_queued_bytes(h2_fixture_stream(&f, 3)), 0);
    h2_fixture_send(&f, 3, piece);
    assert_int_equal(h2_stream_send_data(h2_fixture_stream(&f, 5), bytes, 1), -ENOBUFS);
    h2_fixture_put_window_update(&f, 3, 7);
    assert_said(&f, "DATA 3 7\n");
    h2_fixture_send(&f, 5, 7);
    assert_int_equal(h2_stream_send_data(h2_fixture_stream(&f, 5), bytes, 1), -ENOBUFS);
    h2_fixture_reset(&f, 1, H2_CANCEL);
    h2_fixture_send(&f, 5, H2_QUEUED_MAX - piece);
    assert_int_equal(h2_stream_send_data(h2_fixture_stream(&f, 5), bytes, 1), -ENOBUFS);
    h2_fixture_done(&f);
}

/* --- in: our windows ------------------------------------------------------------------------- */

static void put_data(struct h2_fixture *f, uint32_t id, size_t n, size_t n_frame)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, n_frame);

    for (size_t at = 0; at < n; at += n_frame)
        h2_fixture_put_frame(f, H2_DATA, 0, id, bytes, n - at < n_frame ? n - at : n_frame);
    h2_fixture_run(f);
}

static void open_request(struct h2_fixture *f, uint32_t id)
{
    h2_fixture_put_request(f, id, 0);
    h2_fixture_run(f);
}

static void test_consumed_windows_are_given_back_by_halves(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 0);
    open_request(&f, 1);
    put_data(&f, 1, H2_STREAM_WINDOW / 2 - 1, 16384);
    assert_string_equal(h2_fixture_said(&f), "");
    put_data(&f, 1, 1, 1);
    assert_string_equal(h2_fixture_said(&f), "WINDOW_UPDATE 1 131072\n");
    put_data(&f, 1, 3 * H2_STREAM_WINDOW, 16384);
    assert_string_equal(h2_fixture_said(&f),
                        "WINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n"
                        "WINDOW_UPDATE 0 524288\nWINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n"
                        "WINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n");
    h2_fixture_done(&f);
}

/* Padding, its length byte too, counts as data and is never seen by the user. */
static void test_padding_is_counted_and_given_back(void **state)
{
    struct h2_fixture f;
    uint8_t padded[256] = { 255 };

    (void)state;
    init(&f, 100, 0);
    f.holds = true;
    open_request(&f, 1);
    (void)h2_fixture_told(&f);
    for (unsigned i = 0; i < 2 * H2_STREAM_WINDOW / 256; i++)
        h2_fixture_put_frame(&f, H2_DATA, H2_FLAG_PADDED, 1, padded, 256);
    assert_said(&f, "WINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n"
                    "WINDOW_UPDATE 0 524288\nWINDOW_UPDATE 1 131072\n");
    assert_string_equal(h2_fixture_told(&f), "");
    h2_fixture_done(&f);
}

static void test_a_stream_that_is_not_read_is_limited_to_its_window(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 0);
    f.holds = true;
    open_request(&f, 1);
    open_request(&f, 3);
    put_data(&f, 1, H2_STREAM_WINDOW, 16384);
    assert_string_equal(h2_fixture_said(&f), "");
    put_data(&f, 3, 100, 100); /* others go on */
    put_data(&f, 1, 1, 1);
    assert_string_equal(h2_fixture_said(&f), "RST_STREAM 1 FLOW_CONTROL_ERROR\n");
    h2_stream_consume(h2_fixture_stream(&f, 3), 100);
    h2_fixture_done(&f);
}

/* ... and gives room later, outside of an event. */
static void test_a_stream_that_is_read_late_goes_on(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 0);
    f.holds = true;
    open_request(&f, 1);
    put_data(&f, 1, H2_STREAM_WINDOW, 16384);
    (void)h2_fixture_told(&f);
    h2_stream_consume(h2_fixture_stream(&f, 1), H2_STREAM_WINDOW / 2 - 1);
    assert_string_equal(h2_fixture_told(&f), "");
    h2_stream_consume(h2_fixture_stream(&f, 1), 1);
    assert_string_equal(h2_fixture_told(&f), "output\n");
    assert_said(&f, "WINDOW_UPDATE 1 131072\n");
    put_data(&f, 1, H2_STREAM_WINDOW / 2, 16384);
    assert_string_equal(h2_fixture_said(&f), "");
    put_data(&f, 1, 1, 1);
    assert_string_equal(h2_fixture_said(&f), "RST_STREAM 1 FLOW_CONTROL_ERROR\n");
    h2_fixture_done(&f);
}

/* It is given back at once, whoever reads: only a peer that breaks the rules gets beyond it. */
static void test_the_connection_s_window_does_not_depend_on_readers(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 0);
    f.holds = true;
    for (uint32_t id = 1; id < 41; id += 2) {
        open_request(&f, id);
        put_data(&f, id, H2_STREAM_WINDOW, 16384);
    }
    assert_int_equal(h2_fixture_n_said(&f, "WINDOW_UPDATE 0 524288"), 10);
    assert_int_equal(h2_fixture_n_said(&f, ""), 10);
    h2_fixture_done(&f);
}

/* DATA of streams that are over counts, or the connection would starve. */
static void test_data_of_streams_that_are_over_is_given_back(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 0);
    open_request(&f, 1);
    h2_fixture_reset(&f, 1, H2_CANCEL);
    put_data(&f, 1, 3 * H2_CONN_WINDOW, 16384);
    assert_string_equal(h2_fixture_said(&f), "RST_STREAM 1 CANCEL\n"
                                             "WINDOW_UPDATE 0 524288\nWINDOW_UPDATE 0 524288\n"
                                             "WINDOW_UPDATE 0 524288\nWINDOW_UPDATE 0 524288\n"
                                             "WINDOW_UPDATE 0 524288\nWINDOW_UPDATE 0 524288\n");
    h2_fixture_done(&f);
}

/* An answer waits for a window while the peer still sends its request: that is dropped, and
 * its room given back, or both would wait for each other. */
static void test_a_request_that_nobody_reads_any_more_goes_on(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 10, 0);
    open_request(&f, 1);
    h2_fixture_send(&f, 1, 100);
    h2_fixture_end(&f, 1);
    h2_fixture_run(&f);
    (void)h2_fixture_told(&f);
    (void)h2_fixture_said(&f);
    put_data(&f, 1, H2_STREAM_WINDOW, 16384);
    h2_fixture_put_frame(&f, H2_DATA, H2_FLAG_END_STREAM, 1, "x", 1);
    assert_said(&f, "WINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n");
    assert_string_equal(h2_fixture_told(&f), "");
    h2_fixture_put_window_update(&f, 1, 90);
    assert_said(&f, "DATA 1 90\nHEADERS 1 end\n");
    h2_fixture_done(&f);
}

/* --- the user in its events ------------------------------------------------------------------ */

static void end(struct h2_fixture *f, struct h2_stream *stream)
{
    h2_fixture_end(f, h2_stream_id(stream));
}

static void cancel(struct h2_fixture *f, struct h2_stream *stream)
{
    h2_fixture_reset(f, h2_stream_id(stream), H2_CANCEL);
}

static void send_and_end(struct h2_fixture *f, struct h2_stream *stream)
{
    h2_stream_send_headers(stream, (const uint8_t *)"\x88", 1);
    h2_fixture_send(f, h2_stream_id(stream), 200);
    h2_fixture_end(f, h2_stream_id(stream));
}

static void shut_down(struct h2_fixture *f, struct h2_stream *stream)
{
    h2_conn_shutdown(f->conn);
    h2_fixture_end(f, h2_stream_id(stream));
}

static void test_a_stream_can_be_ended_in_each_of_its_events(void **state)
{
    static void (*const ways[])(struct h2_fixture *, struct h2_stream *) = {
        end, cancel, send_and_end, shut_down,
    };

    (void)state;
    for (size_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++)
        for (unsigned event = 0; event < 3; event++) {
            struct h2_fixture f;

            init(&f, 100, 0);
            if (event == 0)
                f.on_request = ways[way];
            else if (event == 1)
                f.on_data = ways[way];
            else
                f.on_end = ways[way];
            h2_fixture_put_request(&f, 1, 0);
            h2_fixture_put_frame(&f, H2_DATA, H2_FLAG_END_STREAM, 1, "x", 1);
            h2_fixture_put_window_update(&f, 1, 1000);
            h2_fixture_run(&f);
            assert_null(f.streams[1]);
            assert_int_equal(h2_conn_n_streams(f.conn), 0);
            assert_null(strstr(h2_fixture_told(&f), "output"));
            h2_fixture_done(&f);
        }
}

static void test_a_stream_keeps_its_user_s_pointer(void **state)
{
    struct h2_fixture f;

    (void)state;
    init(&f, 100, 1);
    struct h2_stream *stream = h2_fixture_stream(&f, 1);
    assert_null(h2_stream_data(stream));
    h2_stream_set_data(stream, &f);
    assert_ptr_equal(h2_stream_data(stream), &f);
    assert_int_equal(h2_stream_id(stream), 1);
    h2_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_answers_are_cut_to_frames_and_to_the_stream_s_window),
        FD_LEAK_TEST(test_answers_share_the_connection_s_window),
        FD_LEAK_TEST(test_waiting_streams_take_turns),
        FD_LEAK_TEST(test_a_changed_initial_window_moves_the_windows_of_all_streams),
        FD_LEAK_TEST(test_a_window_taken_away_while_waiting_for_the_connection_s),
        FD_LEAK_TEST(test_windows_above_the_largest_are_errors),
        FD_LEAK_TEST(test_a_reset_drops_what_waits),
        FD_LEAK_TEST(test_answers_that_wait_are_limited),
        FD_LEAK_TEST(test_consumed_windows_are_given_back_by_halves),
        FD_LEAK_TEST(test_padding_is_counted_and_given_back),
        FD_LEAK_TEST(test_a_stream_that_is_not_read_is_limited_to_its_window),
        FD_LEAK_TEST(test_a_stream_that_is_read_late_goes_on),
        FD_LEAK_TEST(test_the_connection_s_window_does_not_depend_on_readers),
        FD_LEAK_TEST(test_data_of_streams_that_are_over_is_given_back),
        FD_LEAK_TEST(test_a_request_that_nobody_reads_any_more_goes_on),
        FD_LEAK_TEST(test_a_stream_can_be_ended_in_each_of_its_events),
        FD_LEAK_TEST(test_a_stream_keeps_its_user_s_pointer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
