#include "tests/support/rpc/h2/h2_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* --- events ---------------------------------------------------------------------------------- */

static void forget(struct h2_fixture *fixture, const struct h2_stream *stream)
{
    fixture->streams[h2_stream_id(stream)] = NULL;
}

static void on_request(struct h2_stream *stream, const struct h2_headers *headers, void *data)
{
    struct h2_fixture *fixture = data;
    uint32_t id = h2_stream_id(stream);

    (void)evbuffer_add_printf(fixture->told, "request %u %s %s\n", id, headers->method.s,
                              headers->path.s);
    if (id >= H2_FIXTURE_IDS_MAX) {
        h2_stream_reset(stream, H2_REFUSED_STREAM);
        return;
    }
    fixture->streams[id] = stream;
    if (fixture->on_request != NULL)
        fixture->on_request(fixture, stream);
}

static void on_data(struct h2_stream *stream, const uint8_t *bytes, size_t n, void *data)
{
    struct h2_fixture *fixture = data;
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < n; i++) /* a sanitizer sees whether they are there */
        sum = (uint8_t)(sum + bytes[i]);
    (void)evbuffer_add_printf(fixture->told, "data %u %zu\n", h2_stream_id(stream), n);
    if (!fixture->holds)
        h2_stream_consume(stream, n);
    if (fixture->on_data != NULL)
        fixture->on_data(fixture, stream);
}

static void on_end(struct h2_stream *stream, void *data)
{
    struct h2_fixture *fixture = data;

    (void)evbuffer_add_printf(fixture->told, "end %u\n", h2_stream_id(stream));
    if (fixture->on_end != NULL)
        fixture->on_end(fixture, stream);
}

static void on_reset(struct h2_stream *stream, enum h2_error error, void *data)
{
    struct h2_fixture *fixture = data;

    (void)evbuffer_add_printf(fixture->told, "reset %u %s\n", h2_stream_id(stream),
                              h2_error_name(error));
    assert_ptr_equal(fixture->streams[h2_stream_id(stream)], stream);
    forget(fixture, stream);
}

static void on_drain(struct h2_stream *stream, void *data)
{
    struct h2_fixture *fixture = data;

    assert_int_equal(h2_stream_queued_bytes(stream), 0);
    (void)evbuffer_add_printf(fixture->told, "drain %u\n", h2_stream_id(stream));
}

static void on_output(void *data)
{
    struct h2_fixture *fixture = data;

    (void)evbuffer_add_printf(fixture->told, "output\n");
}

static void on_stream_error(uint32_t id, enum h2_error error, const char *text, void *data)
{
    struct h2_fixture *fixture = data;

    assert_non_null(text);
    (void)evbuffer_add_printf(fixture->told, "error %u %s\n", id, h2_error_name(error));
}

static const struct h2_conn_events events = {
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_reset = on_reset,
    .on_drain = on_drain,
    .on_output = on_output,
    .on_stream_error = on_stream_error,
};

/* --- life ------------------------------------------------------------------------------------ */

void h2_fixture_init(struct h2_fixture *fixture)
{
    *fixture = (struct h2_fixture){ .now_usec = 1000000 };
    fixture->streams =
        (struct h2_stream **)alloc_zero(H2_FIXTURE_IDS_MAX, sizeof(*fixture->streams));
    fixture->told = evbuffer_new();
    fixture->said = evbuffer_new();
    assert_true(fixture->told != NULL && fixture->said != NULL);
    fixture->conn = h2_conn_new(&events, fixture, fixture->now_usec);
}

void h2_fixture_init_open(struct h2_fixture *fixture)
{
    h2_fixture_init(fixture);
    h2_fixture_put_preface(fixture);
    h2_fixture_put_frame(fixture, H2_SETTINGS, 0, 0, NULL, 0);
    h2_fixture_put_frame(fixture, H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
    h2_fixture_run(fixture);
    assert_string_equal(h2_fixture_said(fixture),
                        "SETTINGS\nWINDOW_UPDATE 0 983041\nSETTINGS ack\n");
    assert_string_equal(h2_fixture_told(fixture), "");
}

void h2_fixture_done(struct h2_fixture *fixture)
{
    fixture->conn = h2_conn_free(fixture->conn);
    for (size_t id = 0; id < H2_FIXTURE_IDS_MAX; id++)
        assert_null(fixture->streams[id]);
    evbuffer_free(fixture->told);
    evbuffer_free(fixture->said);
    free(fixture->taken_told);
    free(fixture->taken_said);
    free((void *)fixture->streams);
}

/* --- in -------------------------------------------------------------------------------------- */

void h2_fixture_put(struct h2_fixture *fixture, const void *bytes, size_t n)
{
    assert_int_equal(evbuffer_add(h2_conn_input(fixture->conn), bytes, n), 0);
}

void h2_fixture_put_preface(struct h2_fixture *fixture)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    h2_fixture_put(fixture, preface, sizeof(preface) - 1);
}

void h2_fixture_put_frame(struct h2_fixture *fixture, enum h2_frame_type type, uint8_t flags,
                          uint32_t id, const void *payload, size_t n)
{
    uint8_t header[H2_FRAME_HEADER_SIZE];

    (void)h2_codec_encode_frame_header(header, n, type, flags, id);
    h2_fixture_put(fixture, header, sizeof(header));
    h2_fixture_put(fixture, n > 0 ? payload : "", n);
}

void h2_fixture_put_request(struct h2_fixture *fixture, uint32_t id, uint8_t flags)
{
    static const uint8_t block[] = { 0x83, 0x86, 0x84 };

    h2_fixture_put_frame(fixture, H2_HEADERS, H2_FLAG_END_HEADERS | flags, id, block,
                         sizeof(block));
}

void h2_fixture_put_window_update(struct h2_fixture *fixture, uint32_t id, uint32_t increment)
{
    uint8_t payload[4];

    (void)h2_codec_encode_u32(payload, increment);
    h2_fixture_put_frame(fixture, H2_WINDOW_UPDATE, 0, id, payload, sizeof(payload));
}

void h2_fixture_put_initial_window(struct h2_fixture *fixture, uint32_t size)
{
    uint8_t payload[6];

    (void)h2_codec_encode_setting(payload, H2_SETTING_INITIAL_WINDOW_SIZE, size);
    h2_fixture_put_frame(fixture, H2_SETTINGS, 0, 0, payload, sizeof(payload));
}

/* --- out ------------------------------------------------------------------------------------- */

static uint32_t u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void say(struct evbuffer *to, const struct h2_frame *frame)
{
    switch (frame->type) {
    case H2_SETTINGS:
        (void)evbuffer_add_printf(to, "SETTINGS%s\n",
                                  (frame->flags & H2_FLAG_ACK) != 0 ? " ack" : "");
        break;
    case H2_PING:
        (void)evbuffer_add_printf(to, "PING%s %.8s\n",
                                  (frame->flags & H2_FLAG_ACK) != 0 ? " ack" : "",
                                  (const char *)frame->payload);
        break;
    case H2_HEADERS:
        assert_true((frame->flags & H2_FLAG_END_HEADERS) != 0);
        (void)evbuffer_add_printf(to, "HEADERS %u%s\n", frame->stream_id,
                                  (frame->flags & H2_FLAG_END_STREAM) != 0 ? " end" : "");
        break;
    case H2_DATA:
        (void)evbuffer_add_printf(to, "DATA %u %u\n", frame->stream_id, frame->length);
        break;
    case H2_RST_STREAM:
        (void)evbuffer_add_printf(to, "RST_STREAM %u %s\n", frame->stream_id,
                                  h2_error_name(u32(frame->payload)));
        break;
    case H2_WINDOW_UPDATE:
        (void)evbuffer_add_printf(to, "WINDOW_UPDATE %u %u\n", frame->stream_id,
                                  u32(frame->payload));
        break;
    case H2_GOAWAY:
        (void)evbuffer_add_printf(to, "GOAWAY %u %s\n", u32(frame->payload),
                                  h2_error_name(u32(frame->payload + 4)));
        break;
    default:
        fail_msg("a frame of type %u", frame->type);
    }
}

/* True: there was something. */
static bool take_output(struct h2_fixture *fixture)
{
    struct evbuffer *output = h2_conn_output(fixture->conn);
    size_t n = evbuffer_get_length(output), size = 0;
    const uint8_t *bytes = n > 0 ? evbuffer_pullup(output, -1) : NULL;

    for (size_t at = 0; at < n; at += size) {
        struct h2_frame frame;

        assert_true(n - at >= H2_FRAME_HEADER_SIZE);
        assert_int_equal(h2_codec_frame_size(bytes + at, &size), H2_NO_ERROR);
        assert_int_equal(h2_codec_decode_frame(bytes + at, n - at, &frame), H2_NO_ERROR);
        say(fixture->said, &frame);
    }
    (void)evbuffer_drain(output, n);
    fixture->n_out += n;
    return n > 0;
}

void h2_fixture_run_unread(struct h2_fixture *fixture)
{
    h2_conn_process(fixture->conn, fixture->now_usec);
    h2_conn_flush(fixture->conn);
}

void h2_fixture_run(struct h2_fixture *fixture)
{
    do
        h2_fixture_run_unread(fixture);
    while (take_output(fixture));
}

static const char *take_text(struct evbuffer *text, char **taken)
{
    size_t n = evbuffer_get_length(text);

    free(*taken);
    *taken = alloc_zero(n + 1, 1);
    assert_int_equal(evbuffer_remove(text, *taken, n), n);
    return *taken;
}

const char *h2_fixture_told(struct h2_fixture *fixture)
{
    return take_text(fixture->told, &fixture->taken_told);
}

const char *h2_fixture_said(struct h2_fixture *fixture)
{
    return take_text(fixture->said, &fixture->taken_said);
}

size_t h2_fixture_n_said(struct h2_fixture *fixture, const char *begin)
{
    size_t n = 0, n_begin = strlen(begin), left = evbuffer_get_length(fixture->said);
    const char *line = left > 0 ? (const char *)evbuffer_pullup(fixture->said, -1) : "";

    while (left > 0) {
        size_t n_line = (size_t)((const char *)memchr(line, '\n', left) - line) + 1;

        if (n_line > n_begin && memcmp(line, begin, n_begin) == 0)
            n++;
        line += n_line;
        left -= n_line;
    }
    return n;
}

/* --- the user -------------------------------------------------------------------------------- */

struct h2_stream *h2_fixture_stream(struct h2_fixture *fixture, uint32_t id)
{
    assert_non_null(fixture->streams[id]);
    return fixture->streams[id];
}

void h2_fixture_send(struct h2_fixture *fixture, uint32_t id, size_t n)
{
    CLEANUP_FREE uint8_t *bytes = alloc_zero(n, 1);

    assert_int_equal(h2_stream_send_data(h2_fixture_stream(fixture, id), bytes, n), 0);
}

void h2_fixture_end(struct h2_fixture *fixture, uint32_t id)
{
    static const uint8_t block[] = { 0x88 }; /* :status 200 */
    struct h2_stream *stream = h2_fixture_stream(fixture, id);

    forget(fixture, stream);
    h2_stream_send_trailers(stream, block, sizeof(block));
}

void h2_fixture_reset(struct h2_fixture *fixture, uint32_t id, enum h2_error error)
{
    struct h2_stream *stream = h2_fixture_stream(fixture, id);

    forget(fixture, stream);
    h2_stream_reset(stream, error);
}
