/* A connection's life: preface, settings, requests in pieces, shutdown, failure. */
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

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_SIZE (sizeof(preface) - 1)

/* --- preface, settings ----------------------------------------------------------------------- */

/* What a client learns of us: 4096 streams, windows of 256 KiB and 1 MiB, headers of 16 KiB. */
static void test_our_settings_come_first_and_unasked(void **state)
{
    static const uint8_t expected[] = {
        0, 0, 18, 4, 0, 0, 0, 0, 0,                                           /* SETTINGS */
        0, 3, 0, 0, 0x10, 0, 0, 4, 0, 4, 0, 0, 0, 6, 0, 0, 0x40, 0,           /* the values */
        0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0x0f, 0, 1,                             /* WINDOW_UPDATE */
    };
    struct h2_fixture f;

    (void)state;
    h2_fixture_init(&f);
    struct evbuffer *output = h2_conn_output(f.conn);
    assert_int_equal(evbuffer_get_length(output), sizeof(expected));
    assert_memory_equal(evbuffer_pullup(output, -1), expected, sizeof(expected));
    assert_string_equal(h2_fixture_told(&f), "");
    h2_fixture_done(&f);
}

static void test_a_wrong_byte_of_the_preface_is_refused_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < PREFACE_SIZE; i++) {
        struct h2_fixture f;
        char bytes[PREFACE_SIZE];
        enum h2_error error = H2_NO_ERROR;

        memcpy(bytes, preface, PREFACE_SIZE);
        bytes[i] ^= 0x20;
        h2_fixture_init(&f);
        h2_fixture_put(&f, bytes, i + 1);
        h2_fixture_run(&f);
        assert_string_equal(h2_fixture_said(&f),
                            "SETTINGS\nWINDOW_UPDATE 0 983041\nGOAWAY 0 PROTOCOL_ERROR\n");
        assert_true(h2_conn_is_done(f.conn));
        assert_non_null(h2_conn_failure(f.conn, &error));
        assert_int_equal(error, H2_PROTOCOL_ERROR);
        h2_fixture_done(&f);
    }
}

static void test_other_protocols_are_refused(void **state)
{
    static const char *const greetings[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", "\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
        struct h2_fixture f;

        h2_fixture_init(&f);
        h2_fixture_put(&f, greetings[i], strlen(greetings[i]));
        h2_fixture_run(&f);
        assert_int_equal(h2_fixture_n_said(&f, "GOAWAY 0 PROTOCOL_ERROR"), 1);
        assert_false(h2_conn_wants_input(f.conn));
        h2_fixture_done(&f);
    }
}

/* As a probe does that only tries whether somebody listens. */
static void test_a_part_of_the_preface_is_waited_with(void **state)
{
    (void)state;
    for (size_t n = 0; n <= PREFACE_SIZE; n++) {
        struct h2_fixture f;
        enum h2_error error;

        h2_fixture_init(&f);
        h2_fixture_put(&f, preface, n);
        h2_fixture_run(&f);
        assert_string_equal(h2_fixture_said(&f), "SETTINGS\nWINDOW_UPDATE 0 983041\n");
        assert_true(h2_conn_wants_input(f.conn));
        assert_false(h2_conn_is_done(f.conn));
        assert_null(h2_conn_failure(f.conn, &error));
        h2_fixture_done(&f);
    }
}

static void test_first_frame_must_be_settings(void **state)
{
    static const struct {
        enum h2_frame_type type;
        uint8_t flags;
    } firsts[] = {
        { H2_PING, 0 },      { H2_WINDOW_UPDATE, 0 }, { H2_HEADERS, H2_FLAG_END_HEADERS },
        { H2_GOAWAY, 0 },    { H2_DATA, 0 },          { H2_SETTINGS, H2_FLAG_ACK },
        { H2_PRIORITY, 0 },  { 0xee, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        struct h2_fixture f;

        h2_fixture_init(&f);
        h2_fixture_put_preface(&f);
        h2_fixture_put_frame(&f, firsts[i].type, firsts[i].flags, 0, "12345678", 8);
        h2_fixture_run(&f);
        assert_int_equal(h2_fixture_n_said(&f, "GOAWAY 0 PROTOCOL_ERROR"), 1);
        h2_fixture_done(&f);
    }
}

/* --- pieces ---------------------------------------------------------------------------------- */

/* A session with all frames a client may send, as bytes. */
static size_t make_session(uint8_t *to, size_t size)
{
    static const uint8_t block[] = { 0x83, 0x86, 0x84, 0x40, 1, 'x', 1, 'y' };
    struct h2_fixture f;

    h2_fixture_init(&f);
    h2_fixture_put_preface(&f);
    h2_fixture_put_initial_window(&f, 100);
    h2_fixture_put_frame(&f, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
    h2_fixture_put_request(&f, 1, 0);
    h2_fixture_put_frame(&f, H2_DATA, 0, 1, "hello", 5);
    h2_fixture_put_frame(&f, H2_PING, 0, 0, "12345678", 8);
    h2_fixture_put_frame(&f, H2_DATA, H2_FLAG_PADDED | H2_FLAG_END_STREAM, 1, "\2world\0", 8);
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_PADDED | H2_FLAG_PRIORITY, 3,
                         "\1\0\0\0\1\7\x83\0", 8);
    h2_fixture_put_frame(&f, H2_CONTINUATION, 0, 3, NULL, 0);
    h2_fixture_put_frame(&f, H2_CONTINUATION, H2_FLAG_END_HEADERS, 3, block + 1, sizeof(block) - 1);
    h2_fixture_put_frame(&f, H2_PRIORITY, 0, 9, "\0\0\0\1\7", 5);
    h2_fixture_put_window_update(&f, 0, 1000);
    h2_fixture_put_window_update(&f, 3, 1000);
    h2_fixture_put_frame(&f, 0xee, 0xff, 3, "anything", 8);
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, 3, "\xbe", 1);
    h2_fixture_put_request(&f, 5, H2_FLAG_END_STREAM);
    h2_fixture_put_frame(&f, H2_RST_STREAM, 0, 1, "\0\0\0\10", 4);
    h2_fixture_put_frame(&f, H2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0bye", 11);
    int n = evbuffer_remove(h2_conn_input(f.conn), to, size);
    assert_true(n > 0 && (size_t)n < size);
    h2_fixture_done(&f);
    return (size_t)n;
}

static const char session_told[] = "request 1 POST /\ndata 1 5\ndata 1 5\nend 1\nrequest 3 POST /\n"
                                   "end 3\nrequest 5 POST /\nend 5\nreset 1 CANCEL\n";
static const char session_said[] =
    "SETTINGS\nWINDOW_UPDATE 0 983041\nSETTINGS ack\nPING ack 12345678\n";

static void test_a_session_cut_anywhere_is_understood_alike(void **state)
{
    uint8_t bytes[512];
    size_t n = make_session(bytes, sizeof(bytes));

    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        struct h2_fixture f;

        h2_fixture_init(&f);
        h2_fixture_put(&f, bytes, cut);
        h2_fixture_run(&f);
        h2_fixture_put(&f, bytes + cut, n - cut);
        h2_fixture_run(&f);
        assert_string_equal(h2_fixture_told(&f), session_told);
        assert_string_equal(h2_fixture_said(&f), session_said);
        assert_int_equal(h2_conn_n_streams(f.conn), 2);
        h2_fixture_done(&f);
    }
}

static void test_a_session_byte_by_byte_is_understood_alike(void **state)
{
    uint8_t bytes[512];
    size_t n = make_session(bytes, sizeof(bytes));
    struct h2_fixture f;

    (void)state;
    h2_fixture_init(&f);
    for (size_t i = 0; i < n; i++) {
        h2_fixture_put(&f, bytes + i, 1);
        h2_fixture_run(&f);
    }
    assert_string_equal(h2_fixture_told(&f), session_told);
    assert_string_equal(h2_fixture_said(&f), session_said);
    h2_fixture_done(&f);
}

/* A connection may end at any byte. */
static void test_a_session_cut_off_anywhere_leaves_nothing(void **state)
{
    uint8_t bytes[512];
    size_t n = make_session(bytes, sizeof(bytes));

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        struct h2_fixture f;

        h2_fixture_init(&f);
        h2_fixture_put(&f, bytes, cut);
        h2_fixture_run(&f);
        h2_fixture_done(&f); /* each stream was told, and no memory is left */
    }
}

/* --- shutdown -------------------------------------------------------------------------------- */

static void test_shutdown_lets_streams_end_and_takes_no_new_ones(void **state)
{
    struct h2_fixture f;
    enum h2_error error;

    (void)state;
    h2_fixture_init_open(&f);
    h2_fixture_put_request(&f, 1, H2_FLAG_END_STREAM);
    h2_fixture_put_request(&f, 3, 0);
    h2_fixture_run(&f);
    h2_conn_shutdown(f.conn);
    h2_conn_shutdown(f.conn); /* once is enough */
    assert_false(h2_conn_is_done(f.conn));
    h2_fixture_put_request(&f, 5, 0);
    h2_fixture_put_frame(&f, H2_DATA, 0, 5, "late", 4);
    h2_fixture_put_frame(&f, H2_DATA, H2_FLAG_END_STREAM, 3, "x", 1);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_told(&f), "request 1 POST /\nend 1\nrequest 3 POST /\noutput\n"
                                             "data 3 1\nend 3\n");
    assert_string_equal(h2_fixture_said(&f), "GOAWAY 3 NO_ERROR\n");

    h2_fixture_end(&f, 1);
    assert_false(h2_conn_is_done(f.conn));
    h2_fixture_end(&f, 3);
    assert_true(h2_conn_is_done(f.conn));
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_said(&f), "HEADERS 1 end\nHEADERS 3 end\n");
    assert_null(h2_conn_failure(f.conn, &error));
    h2_fixture_done(&f);
}

/* RFC 9113 section 6.8: a later GOAWAY must not say that more has been handled. */
static void test_goaway_never_names_a_higher_stream_than_before(void **state)
{
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    h2_fixture_put_request(&f, 1, H2_FLAG_END_STREAM);
    h2_fixture_run(&f);
    h2_conn_shutdown(f.conn);
    h2_fixture_put_request(&f, 3, H2_FLAG_END_STREAM);
    h2_fixture_put_frame(&f, H2_PUSH_PROMISE, 0, 1, "\0\0\0\2", 4);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_said(&f), "GOAWAY 1 NO_ERROR\nGOAWAY 1 PROTOCOL_ERROR\n");
    h2_fixture_done(&f);
}

/* The blocks of requests that are not handled still change the table. */
static void test_headers_after_shutdown_keep_the_table_in_step(void **state)
{
    static const uint8_t adds[] = { 0x83, 0x86, 0x84, 0x40, 1, 'x', 1, 'y' };
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    h2_fixture_put_request(&f, 1, 0);
    h2_fixture_run(&f);
    h2_conn_shutdown(f.conn);
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS, 3, adds, sizeof(adds));
    h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, 1, "\xbe", 1);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_told(&f), "request 1 POST /\noutput\nend 1\n");
    assert_string_equal(h2_fixture_said(&f), "GOAWAY 1 NO_ERROR\n");
    h2_fixture_done(&f);
}

/* Every state, and what a shutdown makes of it. */
static void test_shutdown_before_the_first_request_is_the_end(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 4; step++) {
        struct h2_fixture f;

        h2_fixture_init(&f);
        if (step >= 1)
            h2_fixture_put_preface(&f);
        if (step >= 2)
            h2_fixture_put_frame(&f, H2_SETTINGS, 0, 0, NULL, 0);
        if (step >= 3)
            h2_fixture_put_frame(&f, H2_PUSH_PROMISE, 0, 0, NULL, 0);
        h2_fixture_run(&f);
        h2_conn_shutdown(f.conn);
        assert_true(h2_conn_is_done(f.conn));
        h2_fixture_put_preface(&f); /* whatever comes now */
        h2_fixture_run(&f);
        assert_int_equal(h2_fixture_n_said(&f, "GOAWAY"), step == 2 ? 2 : 1);
        h2_fixture_done(&f);
    }
}

/* --- failure --------------------------------------------------------------------------------- */

static void test_a_failed_connection_ends_its_streams_and_hears_no_more(void **state)
{
    struct h2_fixture f;
    enum h2_error error = H2_NO_ERROR;

    (void)state;
    h2_fixture_init_open(&f);
    h2_fixture_put_request(&f, 1, 0);
    h2_fixture_put_request(&f, 3, H2_FLAG_END_STREAM);
    h2_fixture_put_frame(&f, H2_DATA, 0, 0, "x", 1);
    h2_fixture_put_request(&f, 5, 0);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_told(&f), "request 1 POST /\nrequest 3 POST /\nend 3\n"
                                             "reset 3 CANCEL\nreset 1 CANCEL\n");
    assert_string_equal(h2_fixture_said(&f), "GOAWAY 3 PROTOCOL_ERROR\n");
    assert_true(h2_conn_is_done(f.conn));
    assert_false(h2_conn_wants_input(f.conn));
    assert_string_equal(h2_conn_failure(f.conn, &error), "malformed DATA frame");
    assert_int_equal(error, H2_PROTOCOL_ERROR);

    h2_fixture_put_request(&f, 7, 0);
    h2_fixture_run(&f);
    assert_int_equal(evbuffer_get_length(h2_conn_input(f.conn)), 0);
    assert_string_equal(h2_fixture_told(&f), "");
    assert_string_equal(h2_fixture_said(&f), "");
    h2_fixture_done(&f);
}

static void test_a_freed_connection_tells_its_streams(void **state)
{
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    h2_fixture_put_initial_window(&f, 10);
    h2_fixture_put_request(&f, 1, 0);
    h2_fixture_put_request(&f, 3, H2_FLAG_END_STREAM);
    h2_fixture_put_request(&f, 5, H2_FLAG_END_STREAM);
    h2_fixture_run(&f);
    h2_fixture_send(&f, 3, 100);
    h2_fixture_send(&f, 5, 100);
    h2_fixture_end(&f, 5); /* its user has no more business with it */
    (void)h2_fixture_told(&f);
    f.conn = h2_conn_free(f.conn);
    assert_string_equal(h2_fixture_told(&f), "reset 3 CANCEL\nreset 1 CANCEL\n");
    h2_fixture_done(&f);
    assert_null(h2_conn_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_our_settings_come_first_and_unasked),
        FD_LEAK_TEST(test_a_wrong_byte_of_the_preface_is_refused_at_once),
        FD_LEAK_TEST(test_other_protocols_are_refused),
        FD_LEAK_TEST(test_a_part_of_the_preface_is_waited_with),
        FD_LEAK_TEST(test_first_frame_must_be_settings),
        FD_LEAK_TEST(test_a_session_cut_anywhere_is_understood_alike),
        FD_LEAK_TEST(test_a_session_byte_by_byte_is_understood_alike),
        FD_LEAK_TEST(test_a_session_cut_off_anywhere_leaves_nothing),
        FD_LEAK_TEST(test_shutdown_lets_streams_end_and_takes_no_new_ones),
        FD_LEAK_TEST(test_goaway_never_names_a_higher_stream_than_before),
        FD_LEAK_TEST(test_headers_after_shutdown_keep_the_table_in_step),
        FD_LEAK_TEST(test_shutdown_before_the_first_request_is_the_end),
        FD_LEAK_TEST(test_a_failed_connection_ends_its_streams_and_hears_no_more),
        FD_LEAK_TEST(test_a_freed_connection_tells_its_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
