/* What each frame means on a stream of each kind, and frames that break the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"
#include "tests/support/rpc/h2/h2_fixture.h"

#define REQUEST "\x83\x86\x84" /* POST, http, / */

/* --- every frame on every kind of stream ----------------------------------------------------- */

/* A connection with a stream in each state there is. The peer's windows are small, so that answers
 * wait. */
static const struct {
    uint32_t id;
    const char *name;
} streams[] = {
    { 0, "connection" },
    { 1, "open" },
    { 3, "half-closed" },
    { 5, "open, answer waits for a window" },
    { 7, "half-closed, answer waits for a window" },
    { 9, "over" },
    { 11, "over, answered before the request was whole" },
    { 13, "reset by us" },
    { 15, "reset by the peer" },
    { 16, "even" },
    { 17, "idle" },
};

static void init_scene(struct h2_fixture *f)
{
    h2_fixture_init_open(f);
    h2_fixture_put_initial_window(f, 10);
    for (uint32_t id = 1; id < 17; id += 2)
        h2_fixture_put_request(f, id, id == 3 || id == 7 || id == 9 ? H2_FLAG_END_STREAM : 0);
    h2_fixture_run(f);
    h2_fixture_send(f, 5, 100);
    h2_fixture_send(f, 7, 100);
    h2_fixture_end(f, 5);
    h2_fixture_end(f, 7);
    h2_fixture_end(f, 9);
    h2_fixture_end(f, 11);
    h2_fixture_reset(f, 13, H2_CANCEL);
    h2_fixture_put_frame(f, H2_RST_STREAM, 0, 15, "\0\0\0\10", 4);
    h2_fixture_run(f);
    assert_int_equal(h2_conn_n_streams(f->conn), 4);
    (void)h2_fixture_told(f);
    (void)h2_fixture_said(f);
}

#define BYTES(literal) (literal), sizeof(literal) - 1

static const struct {
    const char *name;
    enum h2_frame_type type;
    uint8_t flags;
    const char *payload;
    size_t n;
} frames[] = {
    { "DATA", H2_DATA, 0, BYTES("x") },
    { "DATA, empty", H2_DATA, 0, BYTES("") },
    { "DATA, end", H2_DATA, H2_FLAG_END_STREAM, BYTES("x") },
    { "HEADERS", H2_HEADERS, H2_FLAG_END_HEADERS, BYTES(REQUEST) },
    { "HEADERS, end", H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, BYTES(REQUEST) },
    { "HEADERS, trailers", H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM,
      BYTES("\x00\x01x\x01y") },
    { "HEADERS, trailers without end", H2_HEADERS, H2_FLAG_END_HEADERS, BYTES("\x00\x01x\x01y") },
    { "HEADERS, malformed trailers", H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM,
      BYTES("\x00\x03x y\x01y") },
    { "HEADERS, malformed", H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM,
      BYTES(REQUEST "\x00\x03x y\x01y") },
    { "HEADERS, garbage", H2_HEADERS, H2_FLAG_END_HEADERS, BYTES("\x80") },
    { "PRIORITY", H2_PRIORITY, 0, BYTES("\0\0\0\0\7") },
    { "PRIORITY, too short", H2_PRIORITY, 0, BYTES("\0\0\0\0") },
    { "RST_STREAM", H2_RST_STREAM, 0, BYTES("\0\0\0\10") },
    { "RST_STREAM, unknown error", H2_RST_STREAM, 0, BYTES("\377\377\377\377") },
    { "RST_STREAM, too short", H2_RST_STREAM, 0, BYTES("\0\0\0") },
    { "SETTINGS", H2_SETTINGS, 0, BYTES("\0\4\0\0\0\12") },
    { "SETTINGS, ack", H2_SETTINGS, H2_FLAG_ACK, BYTES("") },
    { "PUSH_PROMISE", H2_PUSH_PROMISE, H2_FLAG_END_HEADERS, BYTES("\0\0\0\2" REQUEST) },
    { "PING", H2_PING, 0, BYTES("12345678") },
    { "PING, ack", H2_PING, H2_FLAG_ACK, BYTES("12345678") },
    { "GOAWAY", H2_GOAWAY, 0, BYTES("\0\0\0\0\0\0\0\0") },
    { "WINDOW_UPDATE", H2_WINDOW_UPDATE, 0, BYTES("\0\0\0\2") },
    { "WINDOW_UPDATE, all that waits", H2_WINDOW_UPDATE, 0, BYTES("\0\0\0\132") },
    { "WINDOW_UPDATE, by nothing", H2_WINDOW_UPDATE, 0, BYTES("\0\0\0\0") },
    { "WINDOW_UPDATE, by too much", H2_WINDOW_UPDATE, 0, BYTES("\177\377\377\377") },
    { "WINDOW_UPDATE, too short", H2_WINDOW_UPDATE, 0, BYTES("\0\0\0") },
    { "CONTINUATION", H2_CONTINUATION, H2_FLAG_END_HEADERS, BYTES(REQUEST) },
    { "an unknown type", (enum h2_frame_type)0xee, 0xff, BYTES("x") },
};

/* Lines become items. */
static void write_list(FILE *file, const char *lines)
{
    for (; *lines != '\0'; lines++)
        if (*lines != '\n')
            (void)fputc(*lines, file);
        else if (lines[1] != '\0')
            (void)fputs(", ", file);
}

static void write_pair(FILE *file, size_t frame, size_t stream)
{
    struct h2_fixture f;

    init_scene(&f);
    h2_fixture_put_frame(&f, frames[frame].type, frames[frame].flags, streams[stream].id,
                         frames[frame].payload, frames[frame].n);
    h2_fixture_run(&f);
    (void)fprintf(file, "  on %s: ", streams[stream].name);
    write_list(file, h2_fixture_told(&f));
    (void)fputs(" -> ", file);
    write_list(file, h2_fixture_said(&f));
    (void)fputc('\n', file);
    h2_fixture_done(&f);
}

static void test_every_frame_on_every_stream_has_its_answer(void **state)
{
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);

    (void)state;
    assert_non_null(file);
    for (size_t frame = 0; frame < sizeof(frames) / sizeof(frames[0]); frame++) {
        (void)fprintf(file, "%s\n", frames[frame].name);
        for (size_t stream = 0; stream < sizeof(streams) / sizeof(streams[0]); stream++)
            write_pair(file, frame, stream);
    }
    assert_int_equal(fclose(file), 0);
    golden_compare("h2_frames.txt", text);
    free(text);
}

/* --- header lists ---------------------------------------------------------------------------- */

static const struct {
    const char *block;
    size_t n;
    const char *said;
} requests[] = {
    { BYTES(REQUEST), "" },
    { BYTES("\x82\x86\x84"), "" }, /* GET */
    { BYTES(REQUEST "\x00\x02te\x08trailers"), "" },
    { BYTES("\x86\x84"), "RST_STREAM 1 PROTOCOL_ERROR\n" }, /* no method */
    { BYTES("\x83\x84"), "RST_STREAM 1 PROTOCOL_ERROR\n" }, /* no scheme */
    { BYTES("\x83\x86"), "RST_STREAM 1 PROTOCOL_ERROR\n" }, /* no path */
    { BYTES("\x83\x86\x04\x00"), "RST_STREAM 1 PROTOCOL_ERROR\n" }, /* an empty one */
    { BYTES(""), "RST_STREAM 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x0a" "connection\x05" "close"), "GOAWAY 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x0a" "keep-alive\x01" "1"), "RST_STREAM 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x10" "proxy-connection\x01" "1"), "RST_STREAM 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x0f\x2a\x07" "chunked"), "GOAWAY 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x07" "upgrade\x03h2c"), "GOAWAY 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x03x y\x01z"), "RST_STREAM 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x02te\x04gzip"), "GOAWAY 1 PROTOCOL_ERROR\n" },
    { BYTES(REQUEST "\x00\x00\x01z"), "RST_STREAM 1 PROTOCOL_ERROR\n" }, /* no name */
    { BYTES(REQUEST "\xc0"), "GOAWAY 1 COMPRESSION_ERROR\n" },
};

static void test_requests_must_have_what_http_asks_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct h2_fixture f;

        h2_fixture_init_open(&f);
        h2_fixture_put_frame(&f, H2_HEADERS, H2_FLAG_END_HEADERS, 1, requests[i].block,
                             requests[i].n);
        h2_fixture_run(&f);
        if (strcmp(h2_fixture_said(&f), requests[i].said) != 0)
            fail_msg("row %zu: %s", i, f.taken_said);
        assert_int_equal(h2_conn_n_streams(f.conn), requests[i].said[0] == '\0');
        h2_fixture_done(&f);
    }
}

/* Bodies of a request with "content-length: 3", and whether they are right. */
static const struct {
    size_t first, second; /* bytes of DATA frames */
    enum { END_IN_HEADERS, END_IN_DATA, END_IN_EMPTY_DATA, END_IN_TRAILERS, NO_END } end;
    bool is_right;
} bodies[] = {
    { 0, 0, END_IN_HEADERS, false },    { 1, 2, END_IN_DATA, true },
    { 3, 0, END_IN_EMPTY_DATA, true },  { 3, 0, END_IN_TRAILERS, true },
    { 1, 1, END_IN_DATA, false },       { 1, 1, END_IN_EMPTY_DATA, false },
    { 2, 0, END_IN_TRAILERS, false },   { 0, 0, END_IN_TRAILERS, false },
    { 0, 0, END_IN_EMPTY_DATA, false }, { 4, 0, NO_END, false },
    { 2, 2, NO_END, false },            { 2, 2, END_IN_DATA, false },
};

static void put_body(struct h2_fixture *f, size_t row)
{
    static const char block[] = REQUEST "\x0f\x0d\x01" "3", padded[] = "\4....\0\0\0\0";
    uint8_t end = bodies[row].end == END_IN_HEADERS ? H2_FLAG_END_STREAM : 0;
    uint8_t n = (uint8_t)bodies[row].first;

    h2_fixture_put_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS | end, 1, BYTES(block));
    /* padding is no part of the body */
    if (n > 0)
        h2_fixture_put_frame(f, H2_DATA, H2_FLAG_PADDED, 1, padded, 1 + n + 4u);
    end = bodies[row].end == END_IN_DATA ? H2_FLAG_END_STREAM : 0;
    if (bodies[row].second > 0)
        h2_fixture_put_frame(f, H2_DATA, end, 1, "....", bodies[row].second);
    if (bodies[row].end == END_IN_EMPTY_DATA)
        h2_fixture_put_frame(f, H2_DATA, H2_FLAG_END_STREAM, 1, NULL, 0);
    if (bodies[row].end == END_IN_TRAILERS)
        h2_fixture_put_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_END_STREAM, 1, NULL, 0);
}

static void test_content_length_must_be_true(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof(bodies) / sizeof(bodies[0]); row++) {
        struct h2_fixture f;

        h2_fixture_init_open(&f);
        put_body(&f, row);
        h2_fixture_run(&f);
        const char *told = h2_fixture_told(&f), *said = h2_fixture_said(&f);
        const char *answer = bodies[row].is_right ? "" : "RST_STREAM 1 PROTOCOL_ERROR\n";
        bool is_told = strstr(told, bodies[row].is_right ? "end 1\n" : "error 1 ") != NULL;
        if (!is_told || strcmp(said, answer) != 0)
            fail_msg("row %zu: %s -> %s", row, told, said);
        assert_int_equal(h2_conn_n_streams(f.conn), bodies[row].is_right);
        h2_fixture_done(&f);
    }
}

/* --- order ----------------------------------------------------------------------------------- */

static void assert_answer(const char *said, void (*put)(struct h2_fixture *f))
{
    struct h2_fixture f;

    h2_fixture_init_open(&f);
    put(&f);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_said(&f), said);
    h2_fixture_done(&f);
}

static void put_decreasing_ids(struct h2_fixture *f)
{
    h2_fixture_put_request(f, 5, 0);
    h2_fixture_put_request(f, 3, 0);
}

static void test_stream_ids_only_grow(void **state)
{
    (void)state;
    assert_answer("GOAWAY 5 STREAM_CLOSED\n", put_decreasing_ids);
}

static void put_largest_id(struct h2_fixture *f)
{
    h2_fixture_put_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS, 0x7fffffff, BYTES("\x86\x84"));
    h2_fixture_put_frame(f, H2_RST_STREAM, 0, 0x7fffffff, "\0\0\0\10", 4);
}

static void test_largest_stream_id_is_one_like_others(void **state)
{
    (void)state;
    assert_answer("RST_STREAM 2147483647 PROTOCOL_ERROR\n", put_largest_id);
}

static void put_self_dependent_request(struct h2_fixture *f)
{
    h2_fixture_put_frame(f, H2_HEADERS, H2_FLAG_END_HEADERS | H2_FLAG_PRIORITY, 1,
                         BYTES("\0\0\0\1\7" REQUEST));
}

static void put_self_dependent_priority(struct h2_fixture *f)
{
    h2_fixture_put_request(f, 1, 0);
    h2_fixture_put_frame(f, H2_PRIORITY, 0, 1, BYTES("\0\0\0\1\7"));
}

static void put_self_dependent_idle_priority(struct h2_fixture *f)
{
    h2_fixture_put_frame(f, H2_PRIORITY, 0, 7, BYTES("\200\0\0\7\7"));
}

static void test_a_stream_cannot_depend_on_itself(void **state)
{
    (void)state;
    assert_answer("RST_STREAM 1 PROTOCOL_ERROR\n", put_self_dependent_request);
    assert_answer("RST_STREAM 1 PROTOCOL_ERROR\n", put_self_dependent_priority);
    assert_answer("GOAWAY 0 PROTOCOL_ERROR\n", put_self_dependent_idle_priority);
}

/* Between HEADERS and its CONTINUATION nothing may stand, of any stream. */
static void test_a_header_block_is_not_interrupted(void **state)
{
    (void)state;
    for (size_t frame = 0; frame < sizeof(frames) / sizeof(frames[0]); frame++)
        for (uint32_t id = 0; id <= 3; id++) {
            struct h2_fixture f;

            if (frames[frame].type == H2_CONTINUATION && id == 3)
                continue;
            h2_fixture_init_open(&f);
            h2_fixture_put_request(&f, 1, 0);
            h2_fixture_put_frame(&f, H2_HEADERS, 0, 3, BYTES("\x83"));
            h2_fixture_put_frame(&f, frames[frame].type, frames[frame].flags, id,
                                 frames[frame].payload, frames[frame].n);
            h2_fixture_run(&f);
            assert_string_equal(h2_fixture_said(&f), "GOAWAY 1 PROTOCOL_ERROR\n");
            h2_fixture_done(&f);
        }
}

static void put_cut_block(struct h2_fixture *f)
{
    h2_fixture_put_frame(f, H2_HEADERS, 0, 1, BYTES("\x83"));
    h2_fixture_put_frame(f, H2_CONTINUATION, 0, 1, BYTES("\x86"));
    h2_fixture_put_frame(f, H2_CONTINUATION, H2_FLAG_END_HEADERS, 1, BYTES("\x04\x01"));
}

static void test_a_block_that_ends_early_is_a_compression_error(void **state)
{
    (void)state;
    assert_answer("GOAWAY 1 COMPRESSION_ERROR\n", put_cut_block);
}

/* The length is believed before anything of the frame has arrived. */
static void put_large_frame(struct h2_fixture *f)
{
    h2_fixture_put(f, BYTES("\0\100\1\0\0\0\0\0\1"));
}

static void put_largest_frame(struct h2_fixture *f)
{
    CLEANUP_FREE char *payload = alloc_zero(1, H2_FRAME_PAYLOAD_MAX);

    h2_fixture_put_request(f, 1, 0);
    h2_fixture_put_frame(f, H2_DATA, 0, 1, payload, H2_FRAME_PAYLOAD_MAX);
    h2_fixture_put_frame(f, 0xee, 0, 1, payload, H2_FRAME_PAYLOAD_MAX);
}

static void test_frames_above_16384_bytes_are_refused(void **state)
{
    (void)state;
    assert_answer("", put_largest_frame);
    assert_answer("GOAWAY 0 FRAME_SIZE_ERROR\n", put_large_frame);
}

/* An answer to a request that needs no body: the client is not told to stop sending. */
static void end_at_once(struct h2_fixture *f, struct h2_stream *stream)
{
    h2_fixture_end(f, h2_stream_id(stream));
}

static void test_an_answer_at_once_resets_only_a_request_that_goes_on(void **state)
{
    struct h2_fixture f;

    (void)state;
    h2_fixture_init_open(&f);
    f.on_request = end_at_once;
    h2_fixture_put_request(&f, 1, H2_FLAG_END_STREAM);
    h2_fixture_put_request(&f, 3, 0);
    h2_fixture_run(&f);
    assert_string_equal(h2_fixture_told(&f), "request 1 POST /\nrequest 3 POST /\n");
    assert_string_equal(h2_fixture_said(&f),
                        "HEADERS 1 end\nHEADERS 3 end\nRST_STREAM 3 NO_ERROR\n");
    h2_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_frame_on_every_stream_has_its_answer),
        FD_LEAK_TEST(test_requests_must_have_what_http_asks_for),
        FD_LEAK_TEST(test_content_length_must_be_true),
        FD_LEAK_TEST(test_stream_ids_only_grow),
        FD_LEAK_TEST(test_largest_stream_id_is_one_like_others),
        FD_LEAK_TEST(test_a_stream_cannot_depend_on_itself),
        FD_LEAK_TEST(test_a_header_block_is_not_interrupted),
        FD_LEAK_TEST(test_a_block_that_ends_early_is_a_compression_error),
        FD_LEAK_TEST(test_frames_above_16384_bytes_are_refused),
        FD_LEAK_TEST(test_an_answer_at_once_resets_only_a_request_that_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
