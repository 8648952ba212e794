#include "rpc/h2/h2_output.h"

#include <assert.h>
#include <string.h>

#include "rpc/h2/h2_limits.h"

void h2_output_init(struct h2_output *output, void (*on_output)(void *data), void *data)
{
    *output = (struct h2_output){
        .bytes = evbuffer_new(),
        .window = H2_WINDOW_DEFAULT,
        .on_output = on_output,
        .data = data,
    };
    assert(output->bytes);
}

void h2_output_done(struct h2_output *output)
{
    evbuffer_free(output->bytes);
    output->bytes = NULL;
}

void h2_output_hold(struct h2_output *output)
{
    output->n_holds++;
}

bool h2_output_release(struct h2_output *output)
{
    assert(output->n_holds > 0);
    return --output->n_holds == 0;
}

/* --- frames ---------------------------------------------------------------------------------- */

static void put_header(struct h2_output *output, enum h2_frame_type type, uint8_t flags,
                       uint32_t id, size_t n)
{
    uint8_t header[H2_FRAME_HEADER_SIZE];
    h2_codec_encode_frame_header(header, n, type, flags, id);
    evbuffer_add(output->bytes, header, sizeof(header));
}

static void tell(const struct h2_output *output)
{
    if (output->n_holds == 0)
        output->on_output(output->data);
}

void h2_output_frame(struct h2_output *output, enum h2_frame_type type, uint8_t flags, uint32_t id,
                     const uint8_t *payload, size_t n)
{
    put_header(output, type, flags, id, n);
    if (n > 0)
        evbuffer_add(output->bytes, payload, n);
    tell(output);
}

void h2_output_rst_stream(struct h2_output *output, uint32_t id, enum h2_error error)
{
    uint8_t payload[4];
    h2_codec_encode_u32(payload, error);
    h2_output_frame(output, H2_RST_STREAM, 0, id, payload, sizeof(payload));
    output->resets[output->n_resets++ % H2_OUTPUT_RESETS] = id;
}

bool h2_output_has_reset(const struct h2_output *output, uint32_t id)
{
    for (size_t i = 0; i < H2_OUTPUT_RESETS; i++)
        if (output->resets[i] == id)
            return true;
    return false;
}

void h2_output_window_update(struct h2_output *output, uint32_t id, uint32_t increment)
{
    uint8_t payload[4];
    h2_codec_encode_u32(payload, increment);
    h2_output_frame(output, H2_WINDOW_UPDATE, 0, id, payload, sizeof(payload));
}

void h2_output_goaway(struct h2_output *output, uint32_t last_id, enum h2_error error,
                      const char *text)
{
    uint8_t payload[8 + 128];
    size_t n = strnlen(text, 128);
    uint8_t *to = h2_codec_encode_u32(payload, last_id);
    to = h2_codec_encode_u32(to, error);
    memcpy(to, text, n);
    h2_output_frame(output, H2_GOAWAY, 0, 0, payload, 8 + n);
}

/* --- DATA ------------------------------------------------------------------------------------ */

bool h2_output_has_room(const struct h2_output *output)
{
    return evbuffer_get_length(output->bytes) < H2_OUTPUT_MAX;
}

size_t h2_output_allowed(const struct h2_output *output, size_t n)
{
    if (output->window <= 0 || !h2_output_has_room(output))
        return 0;
    if (n > H2_FRAME_PAYLOAD_MAX)
        n = H2_FRAME_PAYLOAD_MAX;
    return (int64_t)n > output->window ? (size_t)output->window : n;
}

void h2_output_data(struct h2_output *output, uint32_t id, const uint8_t *bytes, size_t n)
{
    assert(n <= h2_output_allowed(output, n));
    put_header(output, H2_DATA, 0, id, n);
    evbuffer_add(output->bytes, bytes, n);
    output->window -= (int64_t)n;
    tell(output);
}

void h2_output_queue(struct h2_output *output, uint32_t id, struct evbuffer *queue, size_t n)
{
    assert(n <= h2_output_allowed(output, n));
    put_header(output, H2_DATA, 0, id, n);
    evbuffer_remove_buffer(queue, output->bytes, n);
    output->window -= (int64_t)n;
    tell(output);
}

enum h2_error h2_output_grow_window(struct h2_output *output, uint32_t increment)
{
    if (output->window + increment > H2_WINDOW_MAX)
        return H2_FLOW_CONTROL_ERROR;
    output->window += increment;
    return H2_NO_ERROR;
}
