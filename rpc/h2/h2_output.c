/* Frames into the output of a connection. */
#include <string.h>

#include "rpc/h2/h2_private.h"

static void touched(struct h2_conn *conn)
{
    if (conn->busy == 0)
        conn->events->on_output(conn->data);
}

void h2_output_frame(struct h2_conn *conn, enum h2_frame_type type, uint8_t flags, uint32_t id,
                     const uint8_t *payload, size_t n)
{
    uint8_t header[H2_FRAME_HEADER_SIZE];
    h2_codec_encode_frame_header(header, n, type, flags, id);
    evbuffer_add(conn->output, header, sizeof(header));
    if (n > 0)
        evbuffer_add(conn->output, payload, n);
    touched(conn);
}

void h2_output_rst_stream(struct h2_conn *conn, uint32_t id, enum h2_error error)
{
    uint8_t payload[4];
    h2_codec_encode_u32(payload, error);
    h2_output_frame(conn, H2_RST_STREAM, 0, id, payload, sizeof(payload));
    conn->own_resets[conn->n_own_resets++ % H2_OWN_RESETS] = id;
}

void h2_output_window_update(struct h2_conn *conn, uint32_t id, uint32_t increment)
{
    uint8_t payload[4];
    h2_codec_encode_u32(payload, increment);
    h2_output_frame(conn, H2_WINDOW_UPDATE, 0, id, payload, sizeof(payload));
}

void h2_output_goaway(struct h2_conn *conn, enum h2_error error, const char *text)
{
    uint8_t payload[8 + 128];
    size_t n = strnlen(text, 128);
    uint8_t *to = h2_codec_encode_u32(payload, conn->handled_id);
    to = h2_codec_encode_u32(to, error);
    memcpy(to, text, n);
    h2_output_frame(conn, H2_GOAWAY, 0, 0, payload, 8 + n);
}

bool h2_output_has_room(const struct h2_conn *conn)
{
    return evbuffer_get_length(conn->output) < H2_OUTPUT_MAX;
}

bool h2_output_has_reset(const struct h2_conn *conn, uint32_t id)
{
    for (size_t i = 0; i < H2_OWN_RESETS; i++)
        if (conn->own_resets[i] == id)
            return true;
    return false;
}
