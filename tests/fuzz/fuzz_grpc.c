/* gRPC's own forms: messages with their prefix in pieces of any size, timeouts, content types,
 * statuses. */
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_block.h"
#include "rpc/grpc/grpc_wire.h"
#include "tests/fuzz/input.h"

static void read_messages(struct input input, size_t step)
{
    struct grpc_reader reader = {};
    size_t used = 0;
    int r = 0;

    for (; input.n > 0 && r >= 0; (void)input_piece(&input, used)) {
        struct input piece = { input.bytes, input.n < step ? input.n : step };
        size_t room = grpc_reader_room(&reader, piece.n);

        r = grpc_reader_feed(&reader, piece.bytes, piece.n, &used);
        MUST(used <= piece.n && (r != 0 || used == piece.n));
        MUST(reader.n_allocated <= room && reader.n_allocated <= GRPC_WIRE_MESSAGE_MAX);
        MUST(r < 0 || (r > 0) == grpc_reader_is_whole(&reader));
        if (r > 0)
            grpc_reader_next(&reader);
    }
    grpc_reader_next(&reader);
}

static void write_status(struct input *input)
{
    static const struct grpc_metadata none;
    uint8_t block[GRPC_BLOCK_MAX];
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_GRPC_STATUS struct grpc_status status = {}, copy = {};
    int error = input_u8(input) + 1;
    CLEANUP_FREE char *text = input_text(input), *detail = input_optional(input);

    if (detail != NULL && strlen(detail) < GRPC_STATUS_DETAIL_MAX)
        grpc_status_set_recoverable_detail("", detail, strlen(detail));
    (void)(detail != NULL ? fail_set_recoverable : fail_set)(&fail, -error, "%s", text);
    grpc_status_from_fail(&fail, &status);
    MUST(status.code < GRPC_CODE_MAX && strlen(status.message) <= GRPC_STATUS_MESSAGE_MAX);
    grpc_status_copy(&status, &copy);
    MUST(copy.code == status.code && strcmp(copy.message, status.message) == 0);
    MUST(grpc_block_only(block, &status, &none) <= sizeof(block));
    MUST(grpc_block_trailers(block, &status, &none) <= sizeof(block));
    MUST(grpc_block_refusal(block, "405", &status) <= sizeof(block));
}

static void read_base64(struct input input)
{
    CLEANUP_FREE uint8_t *to = alloc_zero(input.n / 4 * 3 + 2, 1);
    size_t n = 0;

    if (grpc_wire_decode_base64((const char *)input.bytes, input.n, to, &n) < 0)
        return;
    MUST(n <= input.n / 4 * 3 + 2);
    CLEANUP_FREE char *again = grpc_wire_base64(to, n);
    MUST(strlen(again) <= input.n);
}

static void pass_metadata(struct input *input)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_GRPC_METADATA struct grpc_metadata received = {}, sent = {};
    struct h2_header items[17];
    struct h2_headers headers = { .items = items };
    uint8_t block[GRPC_METADATA_SENT_MAX];

    input_pairs(input, &pairs);
    for (; headers.n_items < pairs.n_items; headers.n_items++) {
        const struct pair *pair = &pairs.items[headers.n_items];

        items[headers.n_items] = (struct h2_header){ { pair->key, strlen(pair->key) },
                                                     { pair->value, strlen(pair->value) } };
        (void)grpc_metadata_add(&sent, pair->key, pair->value, strlen(pair->value));
    }
    MUST(sent.encoded_bytes <= sizeof(block));
    MUST((size_t)(grpc_metadata_write(&sent, block) - block) <= sent.encoded_bytes);
    if (grpc_metadata_read(&headers, &received) < 0)
        return;
    for (size_t i = 0; i < received.n_items; i++)
        MUST(grpc_metadata_find(&received, received.items[i].key, 0) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    uint8_t what = input_u8(&input);
    uint64_t usec = 0;

    if (what == 'm')
        read_messages(input, (size_t)input_u8(&input) + 1);
    else if (what == 's')
        write_status(&input);
    else if (what == 'b')
        read_base64(input);
    else if (what == 'd')
        pass_metadata(&input);
    else if (grpc_wire_parse_timeout((const char *)input.bytes, input.n, &usec) == 0)
        MUST(usec <= UINT64_C(99999999) * 3600 * 1000000);
    else
        (void)grpc_wire_is_content_type((const char *)input.bytes, input.n);
    return 0;
}
