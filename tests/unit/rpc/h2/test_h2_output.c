#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/h2/h2_limits.h"
#include "rpc/h2/h2_output.h"
#include "tests/support/expect_abort.h"
#include "tests/support/fd_leak.h"

static void count(void *data)
{
    unsigned *n = data;

    (*n)++;
}

/* Takes the next frame out; what it points at lives until the next one. */
static struct h2_frame take_frame(struct h2_output *output)
{
    static uint8_t bytes[H2_FRAME_HEADER_SIZE + H2_FRAME_PAYLOAD_MAX];
    struct h2_frame frame;
    size_t size;

    assert_int_equal(evbuffer_copyout(output->bytes, bytes, H2_FRAME_HEADER_SIZE),
                     H2_FRAME_HEADER_SIZE);
    assert_int_equal(h2_codec_frame_size(bytes, &size), H2_NO_ERROR);
    assert_int_equal(evbuffer_remove(output->bytes, bytes, size), size);
    assert_int_equal(h2_codec_decode_frame(bytes, size, &frame), H2_NO_ERROR);
    return frame;
}

static void test_frames_are_as_they_are_said(void **state)
{
    struct h2_output output;
    struct h2_frame frame;
    struct h2_slice slice;
    unsigned n_told = 0;
    uint32_t number;

    (void)state;
    h2_output_init(&output, count, &n_told);
    h2_output_frame(&output, H2_PING, H2_FLAG_ACK, 0, (const uint8_t *)"12345678", 8);
    h2_output_rst_stream(&output, 3, H2_CANCEL);
    h2_output_window_update(&output, 5, 70000);
    h2_output_goaway(&output, 7, H2_ENHANCE_YOUR_CALM, "why");
    h2_output_data(&output, 9, (const uint8_t *)"abc", 3);
    assert_int_equal(n_told, 5);

    frame = take_frame(&output);
    assert_int_equal(frame.type, H2_PING);
    assert_int_equal(frame.flags, H2_FLAG_ACK);
    assert_memory_equal(frame.payload, "12345678", 8);
    frame = take_frame(&output);
    assert_int_equal(h2_codec_decode_rst_stream(&frame, &number), H2_NO_ERROR);
    assert_int_equal(frame.stream_id, 3);
    assert_int_equal(number, H2_CANCEL);
    frame = take_frame(&output);
    assert_int_equal(h2_codec_decode_window_update(&frame, &number), H2_NO_ERROR);
    assert_int_equal(frame.stream_id, 5);
    assert_int_equal(number, 70000);
    frame = take_frame(&output);
    assert_int_equal(h2_codec_decode_goaway(&frame, &number), H2_NO_ERROR);
    assert_int_equal(number, H2_ENHANCE_YOUR_CALM);
    assert_int_equal(frame.length, 8 + 3);
    assert_memory_equal(frame.payload, "\0\0\0\7", 4);
    assert_memory_equal(frame.payload + 8, "why", 3);
    frame = take_frame(&output);
    assert_int_equal(h2_codec_decode_data(&frame, &slice), H2_NO_ERROR);
    assert_int_equal(frame.stream_id, 9);
    assert_int_equal(frame.flags, 0);
    assert_int_equal(slice.n, 3);
    assert_memory_equal(slice.bytes, "abc", 3);
    assert_int_equal(evbuffer_get_length(output.bytes), 0);
    h2_output_done(&output);
}

static void test_a_long_reason_is_cut(void **state)
{
    struct h2_output output;
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    h2_output_init(&output, count, &(unsigned){ 0 });
    h2_output_goaway(&output, 1, H2_NO_ERROR, text);
    assert_int_equal(take_frame(&output).length, 8 + 128);
    h2_output_done(&output);
}

static void release(void *data)
{
    (void)h2_output_release(data);
}

static void test_nobody_is_told_while_it_is_held(void **state)
{
    struct h2_output output;
    unsigned n_told = 0;

    (void)state;
    h2_output_init(&output, count, &n_told);
    h2_output_hold(&output);
    h2_output_hold(&output);
    h2_output_window_update(&output, 1, 1);
    assert_false(h2_output_release(&output));
    h2_output_data(&output, 1, (const uint8_t *)"a", 1);
    assert_int_equal(n_told, 0);
    assert_true(h2_output_release(&output));
    h2_output_window_update(&output, 1, 1);
    assert_int_equal(n_told, 1);
    expect_abort(release, &output);
    h2_output_done(&output);
}

/* More of them are forgotten: oldest first. */
static void test_the_last_resets_are_remembered(void **state)
{
    struct h2_output output;

    (void)state;
    h2_output_init(&output, count, &(unsigned){ 0 });
    for (uint32_t i = 0; i < H2_OUTPUT_RESETS; i++)
        h2_output_rst_stream(&output, 2 * i + 1, H2_CANCEL);
    assert_true(h2_output_has_reset(&output, 1));
    assert_true(h2_output_has_reset(&output, 2 * H2_OUTPUT_RESETS - 1));
    assert_false(h2_output_has_reset(&output, 2 * H2_OUTPUT_RESETS + 1));
    h2_output_rst_stream(&output, 2 * H2_OUTPUT_RESETS + 1, H2_CANCEL);
    assert_false(h2_output_has_reset(&output, 1));
    assert_true(h2_output_has_reset(&output, 3));
    assert_true(h2_output_has_reset(&output, 2 * H2_OUTPUT_RESETS + 1));
    h2_output_done(&output);
}

static void send_whole_frame(void *data)
{
    static const uint8_t bytes[H2_FRAME_PAYLOAD_MAX];

    h2_output_data(data, 1, bytes, sizeof(bytes));
}

static void queue_whole_frame(void *data)
{
    struct evbuffer *queue = evbuffer_new();
    static const uint8_t bytes[H2_FRAME_PAYLOAD_MAX];

    evbuffer_add(queue, bytes, sizeof(bytes));
    h2_output_queue(data, 1, queue, sizeof(bytes));
}

static void test_a_frame_is_as_large_as_window_and_frames_may_be(void **state)
{
    struct h2_output output;
    struct evbuffer *queue = evbuffer_new();
    static const uint8_t bytes[H2_WINDOW_DEFAULT];

    (void)state;
    h2_output_init(&output, count, &(unsigned){ 0 });
    evbuffer_add(queue, bytes, sizeof(bytes));
    assert_int_equal(h2_output_allowed(&output, 0), 0);
    assert_int_equal(h2_output_allowed(&output, 100), 100);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(h2_output_allowed(&output, sizeof(bytes)), H2_FRAME_PAYLOAD_MAX);
        h2_output_queue(&output, 1, queue, H2_FRAME_PAYLOAD_MAX);
    }
    /* The default is a byte short of four frames. */
    assert_int_equal(h2_output_allowed(&output, sizeof(bytes)), H2_FRAME_PAYLOAD_MAX - 1);
    expect_abort(queue_whole_frame, &output);
    expect_abort(send_whole_frame, &output);
    h2_output_queue(&output, 1, queue, H2_FRAME_PAYLOAD_MAX - 1);
    assert_int_equal(h2_output_allowed(&output, 1), 0);
    assert_int_equal(evbuffer_get_length(queue), 0);

    assert_int_equal(h2_output_grow_window(&output, 10), H2_NO_ERROR);
    assert_int_equal(h2_output_allowed(&output, 100), 10);
    assert_int_equal(h2_output_grow_window(&output, H2_WINDOW_MAX - 9), H2_FLOW_CONTROL_ERROR);
    assert_int_equal(h2_output_allowed(&output, 100), 10);
    assert_int_equal(h2_output_grow_window(&output, H2_WINDOW_MAX - 10), H2_NO_ERROR);
    evbuffer_free(queue);
    h2_output_done(&output);
}

static void test_nothing_is_let_out_without_room(void **state)
{
    struct h2_output output;
    static const uint8_t bytes[H2_FRAME_PAYLOAD_MAX];

    (void)state;
    h2_output_init(&output, count, &(unsigned){ 0 });
    assert_int_equal(h2_output_grow_window(&output, H2_OUTPUT_MAX), H2_NO_ERROR);
    while (evbuffer_get_length(output.bytes) < H2_OUTPUT_MAX) {
        assert_true(h2_output_has_room(&output));
        h2_output_data(&output, 1, bytes, sizeof(bytes));
    }
    assert_false(h2_output_has_room(&output));
    assert_int_equal(h2_output_allowed(&output, 1), 0);
    /* Other frames go out all the same: they answer what was read. */
    h2_output_window_update(&output, 0, 1);
    (void)take_frame(&output);
    assert_true(h2_output_has_room(&output));
    assert_int_equal(h2_output_allowed(&output, 1), 1);
    h2_output_done(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_frames_are_as_they_are_said),
        FD_LEAK_TEST(test_a_long_reason_is_cut),
        FD_LEAK_TEST(test_nobody_is_told_while_it_is_held),
        FD_LEAK_TEST(test_the_last_resets_are_remembered),
        FD_LEAK_TEST(test_a_frame_is_as_large_as_window_and_frames_may_be),
        FD_LEAK_TEST(test_nothing_is_let_out_without_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
