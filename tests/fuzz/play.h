/* A session told step by step, so that a fuzzer need not invent frame lengths and header blocks
 * before it gets anywhere: each step is a byte that says what, and what it wants to know. */
#pragma once

#include "tests/fuzz/session.h"

/* How much a step may be: small ones are fast, and large ones reach the limits. */
struct play_size {
    size_t fill_max;  /* of a message, in bytes */
    size_t flood_max; /* frames at once */
};

/* A connection from its opening to its end. */
void play(const uint8_t *bytes, size_t n, struct play_size size);
