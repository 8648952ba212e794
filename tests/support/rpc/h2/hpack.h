/* Header blocks by libnghttp2, as text: one "name: value" a line, with its line break. The codec
 * under test is another, so the two check each other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* One end of a connection: its tables remember what passed. In memory of the caller. */
struct hpack {
    struct nghttp2_hd_deflater *deflater;
    struct nghttp2_hd_inflater *inflater;
};

void hpack_init(struct hpack *hpack);
void hpack_done(struct hpack *hpack);

/* Answers the size of the block at `to`; more than `size` fails the test. Uses dynamic table
 * and Huffman coding wherever that is shorter. */
size_t hpack_encode(struct hpack *hpack, const char *lines, uint8_t *to, size_t size);
/* Heap. NULL: not a header block. */
char *hpack_decode(struct hpack *hpack, const uint8_t *block, size_t n);
