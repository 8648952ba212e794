#include "rpc/h2/h2_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_frames.h"

enum h2_conn_state {
    H2_CONN_PREFACE,  /* waiting for the client's magic */
    H2_CONN_SETTINGS, /* ... and for its SETTINGS, which must be first */
    H2_CONN_OPEN,
    H2_CONN_CLOSING, /* GOAWAY is said, streams may end */
    H2_CONN_FAILED,
    H2_CONN_STATE_MAX
};

struct h2_conn {
    enum h2_conn_state state;
    struct evbuffer *input;
    struct h2_frames frames;
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_SIZE (sizeof(preface) - 1)

static const bool legal_states[H2_CONN_STATE_MAX][H2_CONN_STATE_MAX] = {
    [H2_CONN_PREFACE] = { [H2_CONN_SETTINGS] = true, [H2_CONN_FAILED] = true },
    [H2_CONN_SETTINGS] = { [H2_CONN_OPEN] = true, [H2_CONN_FAILED] = true },
    [H2_CONN_OPEN] = { [H2_CONN_CLOSING] = true, [H2_CONN_FAILED] = true },
    [H2_CONN_CLOSING] = { [H2_CONN_FAILED] = true },
};

static void set_state(struct h2_conn *conn, enum h2_conn_state state)
{
    assert(legal_states[conn->state][state]);
    conn->state = state;
}

/* --- output ---------------------------------------------------------------------------------- */

static void send_settings(struct h2_output *output)
{
    uint8_t payload[18], *to = payload;
    to = h2_codec_encode_setting(to, H2_SETTING_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX);
    to = h2_codec_encode_setting(to, H2_SETTING_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW);
    /* The list is never smaller than its block could be, so an honest peer stays below. */
    to = h2_codec_encode_setting(to, H2_SETTING_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_MAX);
    h2_output_frame(output, H2_SETTINGS, 0, 0, payload, (size_t)(to - payload));
    h2_output_window_update(output, 0, H2_CONN_WINDOW - H2_WINDOW_DEFAULT);
}

/* Around all that may end streams. */
static void enter(struct h2_conn *conn)
{
    h2_output_hold(&conn->frames.shared.output);
}

static void leave(struct h2_conn *conn)
{
    if (h2_output_release(&conn->frames.shared.output))
        h2_stream_reap(&conn->frames.shared);
}

/* --- input ----------------------------------------------------------------------------------- */

static void fail(struct h2_conn *conn)
{
    h2_frames_close(&conn->frames, conn->frames.failure_error, conn->frames.failure);
    set_state(conn, H2_CONN_FAILED);
    evbuffer_drain(conn->input, evbuffer_get_length(conn->input));
    h2_stream_abandon_all(&conn->frames.shared, H2_CANCEL);
}

/* These answer whether there may be more to do at once. */
static bool read_preface(struct h2_conn *conn)
{
    size_t n = evbuffer_get_length(conn->input);
    if (n > PREFACE_SIZE)
        n = PREFACE_SIZE;
    const uint8_t *bytes = evbuffer_pullup(conn->input, (ev_ssize_t)n);
    if (n > 0 && memcmp(bytes, preface, n) != 0) {
        h2_frames_fail(&conn->frames, H2_PROTOCOL_ERROR,
                       "the peer does not speak HTTP/2 with prior knowledge");
        fail(conn);
        return false;
    }
    if (n < PREFACE_SIZE)
        return false;
    evbuffer_drain(conn->input, n);
    set_state(conn, H2_CONN_SETTINGS);
    return true;
}

static enum h2_error handle_frame(struct h2_conn *conn, const uint8_t *bytes, size_t n,
                                  uint64_t now_usec)
{
    struct h2_frame frame;
    enum h2_error error = h2_codec_decode_frame(bytes, n, &frame);
    if (error != H2_NO_ERROR)
        return h2_frames_fail(&conn->frames, error, "a frame's header can't be decoded");
    if (conn->state == H2_CONN_SETTINGS) {
        if (frame.type != H2_SETTINGS || (frame.flags & H2_FLAG_ACK) != 0)
            return h2_frames_fail(&conn->frames, H2_PROTOCOL_ERROR,
                                  "the first frame is not SETTINGS");
        set_state(conn, H2_CONN_OPEN);
    }
    return h2_frames_handle(&conn->frames, &frame, now_usec);
}

static bool read_frame(struct h2_conn *conn, uint64_t now_usec)
{
    size_t n = evbuffer_get_length(conn->input), size = 0;
    if (n < H2_FRAME_HEADER_SIZE)
        return false;
    const uint8_t *bytes = evbuffer_pullup(conn->input, H2_FRAME_HEADER_SIZE);
    enum h2_error error = h2_codec_frame_size(bytes, &size);
    if (error != H2_NO_ERROR)
        h2_frames_fail(&conn->frames, error, "a frame is longer than 16384 bytes");
    else if (n < size)
        return false;
    else
        error = handle_frame(conn, evbuffer_pullup(conn->input, (ev_ssize_t)size), size, now_usec);
    if (error != H2_NO_ERROR) {
        fail(conn);
        return false;
    }
    evbuffer_drain(conn->input, size);
    return true;
}

static bool may_read(const struct h2_conn *conn)
{
    return conn->state != H2_CONN_FAILED && h2_output_has_room(&conn->frames.shared.output);
}

/* More than a frame is there only while the output was full. A peer that takes its answers byte by
 * byte would else have us read more for each byte, and handle next to nothing. */
bool h2_conn_wants_input(const struct h2_conn *conn)
{
    return may_read(conn) &&
           evbuffer_get_length(conn->input) < H2_FRAME_HEADER_SIZE + H2_FRAME_PAYLOAD_MAX;
}

void h2_conn_process(struct h2_conn *conn, uint64_t now_usec)
{
    enter(conn);
    while (may_read(conn))
        if (!(conn->state == H2_CONN_PREFACE ? read_preface(conn) : read_frame(conn, now_usec)))
            break;
    if (conn->state == H2_CONN_FAILED)
        evbuffer_drain(conn->input, evbuffer_get_length(conn->input));
    leave(conn);
}

void h2_conn_flush(struct h2_conn *conn)
{
    enter(conn);
    h2_stream_pump(&conn->frames.shared);
    leave(conn);
}

/* --- life ------------------------------------------------------------------------------------ */

struct h2_conn *h2_conn_new(const struct h2_conn_events *events, void *data, uint64_t now_usec)
{
    struct h2_conn *conn = ALLOC_NEW(struct h2_conn);
    conn->input = evbuffer_new();
    assert(conn->input);
    h2_frames_init(&conn->frames, events, data, now_usec);
    enter(conn); /* the user has not got us yet, on_output would surprise it */
    send_settings(&conn->frames.shared.output);
    leave(conn);
    return conn;
}

struct h2_conn *h2_conn_free(struct h2_conn *conn)
{
    if (!conn)
        return NULL;
    assert(conn->frames.shared.output.n_holds == 0);
    h2_frames_done(&conn->frames);
    evbuffer_free(conn->input);
    free(conn);
    return NULL;
}

struct evbuffer *h2_conn_input(struct h2_conn *conn)
{
    return conn->input;
}

struct evbuffer *h2_conn_output(struct h2_conn *conn)
{
    return conn->frames.shared.output.bytes;
}

void h2_conn_shutdown(struct h2_conn *conn)
{
    if (conn->state == H2_CONN_CLOSING || conn->state == H2_CONN_FAILED)
        return;
    h2_frames_close(&conn->frames, H2_NO_ERROR, "the server is shutting down");
    set_state(conn, conn->state == H2_CONN_OPEN ? H2_CONN_CLOSING : H2_CONN_FAILED);
}

void h2_conn_fail(struct h2_conn *conn, enum h2_error error, const char *text)
{
    if (conn->state == H2_CONN_FAILED)
        return;
    h2_frames_fail(&conn->frames, error, text);
    enter(conn); /* its owner is to flush and close it anyway */
    fail(conn);
    leave(conn);
}

bool h2_conn_is_open(const struct h2_conn *conn)
{
    return conn->state == H2_CONN_OPEN || conn->state == H2_CONN_CLOSING;
}

bool h2_conn_is_done(const struct h2_conn *conn)
{
    return conn->state == H2_CONN_FAILED ||
           (conn->state == H2_CONN_CLOSING && conn->frames.shared.streams.n == 0);
}

const char *h2_conn_failure(const struct h2_conn *conn, enum h2_error *ret_error)
{
    if (conn->frames.failure)
        *ret_error = conn->frames.failure_error;
    return conn->frames.failure;
}

size_t h2_conn_n_streams(const struct h2_conn *conn)
{
    return conn->frames.shared.streams.n;
}

size_t h2_conn_queued_bytes(const struct h2_conn *conn)
{
    return conn->frames.shared.queued_bytes;
}
