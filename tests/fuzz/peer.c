#include "tests/fuzz/peer.h"

#include <string.h>

#include "rpc/h2/h2_codec.h"

#define PREFACE_SIZE 24

struct frame {
    size_t length;
    uint8_t type, flags;
    uint32_t id;
    const uint8_t *payload;
};

static uint32_t u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct frame to_frame(const struct peer_frames *frames)
{
    const uint8_t *header = frames->header;

    return (struct frame){
        .length = u32(header) >> 8,
        .type = header[3],
        .flags = header[4],
        .id = u32(header + 5) & 0x7fffffff,
        .payload = frames->payload,
    };
}

/* Calls `on_frame` for each frame that ends in these bytes. */
static void walk(struct peer *peer, struct peer_frames *frames, const uint8_t *bytes, size_t n,
                 void (*on_frame)(struct peer *peer, const struct frame *frame))
{
    size_t part = min(frames->n_preface, n);

    frames->n_preface -= part;
    for (bytes += part, n -= part; n > 0; bytes += part, n -= part) {
        if (frames->n_header < sizeof(frames->header)) {
            part = min(sizeof(frames->header) - frames->n_header, n);
            memcpy(frames->header + frames->n_header, bytes, part);
            frames->n_header += part;
            frames->n_left = u32(frames->header) >> 8;
            frames->n_payload = 0;
        } else {
            part = min(frames->n_left, n);
            size_t kept = min(sizeof(frames->payload) - frames->n_payload, part);
            memcpy(frames->payload + frames->n_payload, bytes, kept);
            frames->n_payload += kept;
            frames->n_left -= part;
        }
        if (frames->n_header < sizeof(frames->header) || frames->n_left > 0)
            continue;
        struct frame frame = to_frame(frames);
        frames->n_header = 0;
        on_frame(peer, &frame);
    }
}

/* --- what it says ---------------------------------------------------------------------------- */

static void grant(struct peer *peer, uint32_t id, uint32_t increment)
{
    if (id == 0)
        peer->conn_window += increment;
    else if (id / 2 < PEER_STREAMS_MAX)
        peer->granted[id / 2] += increment;
}

static void set_initial_window(struct peer *peer, uint32_t size)
{
    peer->last_initial_window = size;
    if (size > peer->initial_window)
        peer->initial_window = size;
}

/* Refused ones are counted, too: what the server may send at most. */
static void on_said(struct peer *peer, const struct frame *frame)
{
    if (frame->type == H2_WINDOW_UPDATE && frame->length == 4)
        grant(peer, frame->id, u32(frame->payload) & 0x7fffffff);
    if (frame->type != H2_SETTINGS)
        return;
    if (frame->length > sizeof(((struct peer_frames *)NULL)->payload))
        set_initial_window(peer, H2_WINDOW_MAX); /* not all of it is known */
    else
        for (size_t i = 0; i + 6 <= frame->length; i += 6)
            if (frame->payload[i] == 0 &&
                frame->payload[i + 1] == H2_SETTING_INITIAL_WINDOW_SIZE)
                set_initial_window(peer, u32(frame->payload + i + 2));
}

void peer_is_understood(struct peer *peer)
{
    peer->initial_window = peer->last_initial_window;
}

void peer_say(struct peer *peer, const uint8_t *bytes, size_t n)
{
    walk(peer, &peer->said, bytes, n, on_said);
}

/* --- what it hears --------------------------------------------------------------------------- */

static void hear_data(struct peer *peer, const struct frame *frame)
{
    peer->conn_window -= (int64_t)frame->length;
    MUST(peer->conn_window >= 0);
    if (frame->id / 2 >= PEER_STREAMS_MAX)
        return;
    peer->received[frame->id / 2] += frame->length;
    MUST(peer->received[frame->id / 2] <= peer->initial_window + peer->granted[frame->id / 2]);
}

static void on_heard(struct peer *peer, const struct frame *frame)
{
    bool of_stream = frame->id != 0;

    MUST(frame->length <= H2_FRAME_PAYLOAD_MAX);
    switch (frame->type) {
    case H2_DATA:
    case H2_HEADERS:
        MUST(of_stream && frame->id % 2 == 1 && frame->id <= peer->last_id);
        if (frame->type == H2_DATA)
            hear_data(peer, frame);
        break;
    case H2_RST_STREAM:
        MUST(of_stream && frame->length == 4 && u32(frame->payload) < H2_ERROR_MAX);
        break;
    case H2_WINDOW_UPDATE:
        MUST(frame->length == 4 && u32(frame->payload) > 0 && u32(frame->payload) <= H2_WINDOW_MAX);
        break;
    case H2_PING:
        MUST(!of_stream && frame->length == 8 && frame->flags == H2_FLAG_ACK);
        break;
    case H2_SETTINGS:
        MUST(!of_stream && frame->length == (frame->flags == H2_FLAG_ACK ? 0 : 18));
        break;
    default: /* the only other one that is a server's to send */
        MUST(frame->type == H2_GOAWAY && !of_stream);
        MUST(frame->length >= 8 && u32(frame->payload + 4) < H2_ERROR_MAX);
    }
}

void peer_read(struct peer *peer, struct evbuffer *output, size_t n)
{
    while (n > 0) {
        struct evbuffer_iovec piece;

        MUST(evbuffer_peek(output, -1, NULL, &piece, 1) > 0);
        size_t part = min(piece.iov_len, n);
        walk(peer, &peer->heard, piece.iov_base, part, on_heard);
        MUST(evbuffer_drain(output, part) == 0);
        n -= part;
    }
}

/* --- life ------------------------------------------------------------------------------------ */

void peer_init(struct peer *peer)
{
    *peer = (struct peer){
        .said = { .n_preface = PREFACE_SIZE },
        .conn_window = H2_WINDOW_DEFAULT,
        .initial_window = H2_WINDOW_DEFAULT,
        .last_initial_window = H2_WINDOW_DEFAULT,
    };
}

void peer_sees_stream(struct peer *peer, uint32_t id)
{
    MUST(id > peer->last_id);
    peer->last_id = id;
}
