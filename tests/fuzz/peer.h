/* What the peer of a connection knows: which windows it gave, by what it said; and what it may
 * expect of what it hears. In memory of the caller. */
#pragma once

#include <event2/buffer.h>
#include <stdint.h>

#include "tests/fuzz/input.h"

/* Of how many streams, the first ones, it remembers the windows. */
#define PEER_STREAMS_MAX 256

/* A side's bytes as frames. */
struct peer_frames {
    size_t n_preface; /* bytes of the preface that are still to come */
    uint8_t header[9];
    size_t n_header, n_left; /* of the frame that is under way */
    uint8_t payload[64];     /* its beginning */
    size_t n_payload;
};

struct peer {
    struct peer_frames said, heard;
    int64_t conn_window;     /* the most that the connection may send now */
    uint64_t initial_window; /* the largest that the server may still go by */
    uint64_t last_initial_window;
    uint64_t granted[PEER_STREAMS_MAX], received[PEER_STREAMS_MAX];
    uint32_t last_id; /* that the server has opened for us */
};

void peer_init(struct peer *peer);
/* The bytes are on their way to the server. */
void peer_say(struct peer *peer, const uint8_t *bytes, size_t n);
/* The server has dealt with all that was said, and has been heard: it goes by the last of it. */
void peer_is_understood(struct peer *peer);
/* The server has begun with this stream. */
void peer_sees_stream(struct peer *peer, uint32_t id);
/* Takes `n` bytes of what the server said. A finding: frames that are none, an answer to no
 * request, more DATA than there are windows. */
void peer_read(struct peer *peer, struct evbuffer *output, size_t n);
