/* Header blocks of one connection through the guard around the library (h2_codec): each with its
 * size before it, requests and trailers by turns as the size's top bit says. */
#include "rpc/h2/h2_codec.h"
#include "tests/fuzz/input.h"

static void look_at(const struct h2_headers *headers)
{
    MUST(headers->n_items <= H2_HEADER_BLOCK_MAX && headers->content_length >= -1);
    for (size_t i = 0; i < headers->n_items; i++) {
        MUST(headers->items[i].name.s[headers->items[i].name.n] == '\0');
        MUST(headers->items[i].value.s[headers->items[i].value.n] == '\0');
    }
    (void)h2_headers_get(headers, "te");
    MUST(headers->path.n == 0 || headers->path.s != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    struct h2_table *table = h2_table_new();
    enum h2_error error = H2_NO_ERROR;

    while (input.n > 0 && error == H2_NO_ERROR) {
        uint64_t size = input_number(&input, 2);
        struct input block = input_piece(&input, size & 0x7fff);
        struct h2_headers headers;
        bool malformed;

        error = h2_codec_decode_block(table, (struct h2_slice){ block.bytes, block.n },
                                      size >> 15 ? H2_BLOCK_TRAILERS : H2_BLOCK_REQUEST, &headers,
                                      &malformed);
        if (error == H2_NO_ERROR)
            look_at(&headers);
        MUST(error < H2_ERROR_MAX);
    }
    h2_codec_release();
    h2_table_free(table);
    return 0;
}
