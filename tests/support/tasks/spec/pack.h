/* msgpack for tests, written as JSON with single quotes: pack("{'boot': false, 'n': [1, null]}").
 * A number with a '.' becomes a float64. The text must be right: anything else aborts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct packed {
    uint8_t *bytes;
    size_t n_bytes;
};

struct packed pack(const char *json);
void packed_done(struct packed *packed);
