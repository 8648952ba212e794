#include "tests/fuzz/play.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct player {
    struct session session;
    struct play_size size;
};

static void put_frame(struct session *session, uint8_t type, uint8_t flags, uint32_t id,
                      const uint8_t *payload, size_t n)
{
    uint8_t header[H2_FRAME_HEADER_SIZE];

    /* An unknown type is a number, too. */
    (void)h2_codec_encode_frame_header(header, n, H2_DATA, flags, id);
    header[3] = type;
    session_put(session, header, sizeof(header));
    session_put(session, payload, n);
}

static void put_opening(struct session *session)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    session_put(session, preface, sizeof(preface) - 1);
    put_frame(session, H2_SETTINGS, 0, 0, NULL, 0);
}

/* Streams are named by the order of their coming; 0 is the connection. */
static uint32_t take_stream(struct input *input)
{
    uint8_t i = input_u8(input);

    return i == 0 ? 0 : i * 2U - 1;
}

/* --- steps ----------------------------------------------------------------------------------- */

/* Bytes as they are, in pieces of some size. */
static void put_raw(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint8_t n = input_u8(input), step = input_u8(input);
    struct input bytes = input_piece(input, n == UINT8_MAX ? input->n : n);

    while (bytes.n > 0) {
        struct input piece = input_piece(&bytes, step == 0 ? bytes.n : step);

        session_put(session, piece.bytes, piece.n);
        session_work(session);
    }
}

static void put_any_frame(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint8_t type = input_u8(input), flags = input_u8(input);
    uint32_t id = take_stream(input);
    struct input payload = input_piece(input, input_u8(input));

    put_frame(session, type, flags, id, payload.bytes, payload.n);
}

struct block {
    uint8_t bytes[1024];
    size_t n;
};

static void add(struct block *block, const char *name, const char *value)
{
    size_t n = strlen(value);

    if (h2_codec_header_room(name, n) <= sizeof(block->bytes) - block->n)
        block->n = (size_t)(h2_codec_encode_header(block->bytes + block->n, name, value, n) -
                            block->bytes);
}

enum {
    REQUEST_GET = 1,
    REQUEST_OTHER_TYPE = 2,
    REQUEST_NO_TE = 4,
    REQUEST_COMPRESSED = 8,
    REQUEST_TIMEOUT = 16,
    REQUEST_LENGTH = 32,
    REQUEST_OTHER_PATH = 64,
    REQUEST_HEADER = 128,
};

static void add_texts(struct block *block, uint8_t how, struct input *input)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } headers[] = {
        { REQUEST_OTHER_TYPE, "content-type" },
        { REQUEST_COMPRESSED, "grpc-encoding" },
        { REQUEST_TIMEOUT, "grpc-timeout" },
        { REQUEST_LENGTH, "content-length" },
    };

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if ((how & headers[i].bit) == 0)
            continue;
        CLEANUP_FREE char *value = input_text(input);
        add(block, headers[i].name, value);
    }
    if ((how & REQUEST_HEADER) == 0)
        return;
    CLEANUP_FREE char *name = input_text(input), *value = input_text(input);
    add(block, name, value);
}

/* A request, right but for what the second byte says. */
static void put_request(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint32_t id = take_stream(input);
    uint8_t method = input_u8(input), how = input_u8(input), end = method & H2_FLAG_END_STREAM;
    const char *path = handlers_methods[(method >> 1) % HANDLERS_PATHS].path;
    CLEANUP_FREE char *other_path = (how & REQUEST_OTHER_PATH) != 0 ? input_text(input) : NULL;
    struct block block = {};

    add(&block, ":method", (how & REQUEST_GET) != 0 ? "GET" : "POST");
    add(&block, ":scheme", "http");
    add(&block, ":path", other_path != NULL ? other_path : path);
    if ((how & REQUEST_OTHER_TYPE) == 0)
        add(&block, "content-type", "application/grpc");
    if ((how & REQUEST_NO_TE) == 0)
        add(&block, "te", "trailers");
    add_texts(&block, how, input);
    put_frame(session, H2_HEADERS, H2_FLAG_END_HEADERS | end, id, block.bytes, block.n);
}

/* A message of ConnInfo, with a number and an address of any length; in one DATA frame or many. */
static void put_message(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint32_t id = take_stream(input);
    uint8_t how = input_u8(input);
    uint32_t number = (uint32_t)input_number(input, 4);
    size_t n_fill = (how & 2) != 0 ? (size_t)input_number(input, 3) % player->size.fill_max : 0;
    size_t n = HANDLERS_REQUEST_SIZE(n_fill), sent = 0;
    CLEANUP_FREE uint8_t *bytes = alloc_zero(n, 1);

    handlers_write_request(number, n_fill, bytes);
    do {
        size_t part = n - sent < H2_FRAME_PAYLOAD_MAX ? n - sent : H2_FRAME_PAYLOAD_MAX;
        bool is_last = sent + part == n;

        put_frame(session, H2_DATA, is_last ? how & H2_FLAG_END_STREAM : 0, id, bytes + sent, part);
        session_work(session);
        sent += part;
    } while (sent < n);
}

static void put_u32(struct session *session, enum h2_frame_type type, struct input *input)
{
    uint32_t id = take_stream(input);
    uint8_t payload[4];

    (void)h2_codec_encode_u32(payload, (uint32_t)input_number(input, 4));
    put_frame(session, (uint8_t)type, 0, id, payload, sizeof(payload));
}

static void put_window_update(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    put_u32(session, H2_WINDOW_UPDATE, input);
}

static void put_rst_stream(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    put_u32(session, H2_RST_STREAM, input);
}

static void put_setting(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint8_t payload[6], setting = input_u8(input);

    (void)h2_codec_encode_setting(payload, setting, (uint32_t)input_number(input, 4));
    put_frame(session, H2_SETTINGS, 0, 0, payload, sizeof(payload));
}

/* A frame as long as it may be, and longer. */
static void put_long(struct player *player, struct input *input)
{
    static const uint8_t filling[2 * H2_FRAME_PAYLOAD_MAX];
    struct session *session = &player->session;
    uint8_t type = input_u8(input), flags = input_u8(input);
    uint32_t id = take_stream(input);
    size_t n = input_number(input, 2) % sizeof(filling);
    uint8_t header[H2_FRAME_HEADER_SIZE];

    (void)h2_codec_encode_frame_header(header, 0, H2_DATA, flags, id);
    header[1] = (uint8_t)(n >> 8);
    header[2] = (uint8_t)n;
    header[3] = type;
    session_put(session, header, sizeof(header));
    session_put(session, filling, n);
}

/* One frame many times: floods. */
static void put_flood(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint8_t type = input_u8(input), flags = input_u8(input);
    uint32_t id = take_stream(input);
    size_t n = input_number(input, 2) % player->size.flood_max;
    bool new_ids = (n & 1) != 0;
    struct input payload = input_piece(input, input_u8(input) % 64);

    for (; n > 0; n--, id += new_ids ? 2 : 0)
        put_frame(session, type, flags, id, payload.bytes, payload.n);
}

static void read_answers(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    uint8_t n = input_u8(input);

    /* 255: again without an end, 0: nothing from now on */
    session->room = n == UINT8_MAX ? SIZE_MAX : (size_t)n * n * 64;
}

static void pass_time(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    session_pass(session, (uint64_t)1 << (input_u8(input) % 40));
}

static void act(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    handlers_act(&session->handlers, input);
}

static void shut_down(struct player *player, struct input *input)
{
    struct session *session = &player->session;
    (void)input;
    h2_conn_shutdown(session->h2);
}

static void (*const steps[])(struct player *player, struct input *input) = {
    put_raw,           put_any_frame,  put_request, put_message,
    put_window_update, put_rst_stream, put_setting, put_flood,
    read_answers,      pass_time,      act,         shut_down,
    put_long,
};

void play(const uint8_t *bytes, size_t n, struct play_size size)
{
    struct player player = { .size = size };
    struct input input = { bytes, n };

    session_init(&player.session, size.fill_max);
    put_opening(&player.session);
    while (input.n > 0 && !player.session.is_lost) {
        uint8_t step = input_u8(&input);

        steps[step % (sizeof(steps) / sizeof(steps[0]))](&player, &input);
        /* High ones let the next step come with them. */
        if (step < 128)
            session_work(&player.session);
    }
    session_done(&player.session);
}
