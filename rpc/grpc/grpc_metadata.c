#include "rpc/grpc/grpc_metadata.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_wire.h"

/* What malloc adds to each piece, about. */
#define MALLOC_OVERHEAD 16

static bool has_suffix(struct h2_text name, const char *suffix)
{
    size_t n = strlen(suffix);
    return name.n >= n && memcmp(name.s + name.n - n, suffix, n) == 0;
}

static bool is_binary(struct h2_text name)
{
    return has_suffix(name, "-bin");
}

/* gRPC's and HTTP's own. user-agent is there with every call, and nobody asks for it. */
static bool is_reserved(struct h2_text name)
{
    static const char *const reserved[] = { "content-type", "te", "user-agent" };
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (h2_text_is(name, reserved[i]))
            return true;
    return name.n >= 5 && memcmp(name.s, "grpc-", 5) == 0;
}

/* Takes the value, which is heap and has a NUL behind it. */
static void push(struct grpc_metadata *metadata, struct h2_text name, uint8_t *value, size_t n)
{
    /* by doubling, as a peer may send some hundred */
    size_t n_items = metadata->n_items;
    if ((n_items & (n_items - 1)) == 0)
        metadata->items = alloc_grow(metadata->items, n_items == 0 ? 1 : n_items * 2,
                                     sizeof(*metadata->items));
    metadata->items[metadata->n_items++] =
            (struct grpc_metadatum){ alloc_strndup(name.s, name.n), value, n };
    metadata->heap_bytes += 2 * sizeof(*metadata->items) + name.n + n + 2 + 2 * MALLOC_OVERHEAD;
}

static uint8_t *copy(const void *value, size_t n)
{
    uint8_t *bytes = alloc_zero(n + 1, 1);
    if (n > 0)
        memcpy(bytes, value, n);
    return bytes;
}

static int read_binary(struct grpc_metadata *metadata, struct h2_text name, struct h2_text text)
{
    for (;;) {
        const char *comma = text.n > 0 ? memchr(text.s, ',', text.n) : NULL;
        size_t n_part = comma ? (size_t)(comma - text.s) : text.n, n = 0;
        CLEANUP_FREE uint8_t *value = alloc_zero(n_part + 1, 1);
        int r = grpc_wire_decode_base64(text.s, n_part, value, &n);
        if (r < 0)
            return r;
        value[n] = 0;
        push(metadata, name, TAKE_PTR(value), n);
        if (!comma)
            return 0;
        text.s += n_part + 1;
        text.n -= n_part + 1;
        /* a list may have a blank after its comma */
        if (text.n > 0 && *text.s == ' ') {
            text.s++;
            text.n--;
        }
    }
}

int grpc_metadata_read(const struct h2_headers *headers, struct grpc_metadata *ret_metadata)
{
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};
    for (size_t i = 0; i < headers->n_items; i++) {
        const struct h2_header *header = &headers->items[i];
        if (is_reserved(header->name))
            continue;
        if (!is_binary(header->name)) {
            push(&metadata, header->name, copy(header->value.s, header->value.n),
                 header->value.n);
            continue;
        }
        int r = read_binary(&metadata, header->name, header->value);
        if (r < 0)
            return r;
    }
    *ret_metadata = metadata;
    metadata = (struct grpc_metadata){};
    return 0;
}

static bool is_key(struct h2_text name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    return name.n > 0 && strspn(name.s, allowed) == name.n && !is_reserved(name);
}

static bool is_printable(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return false;
    /* no blanks at the ends: RFC 9113 section 8.2.1 */
    return n == 0 || (bytes[0] != ' ' && bytes[n - 1] != ' ');
}

int grpc_metadata_add(struct grpc_metadata *metadata, const char *key, const void *value, size_t n)
{
    struct h2_text name = { key, strlen(key) };
    bool binary = is_binary(name);
    if (!is_key(name) || (!binary && !is_printable(value, n)))
        return -EINVAL;
    if (n > GRPC_METADATA_SENT_MAX)
        return -ENOBUFS;
    size_t room = h2_codec_header_room(key, binary ? n / 3 * 4 + 4 : n);
    if (room > GRPC_METADATA_SENT_MAX - metadata->encoded_bytes)
        return -ENOBUFS;
    push(metadata, name, copy(value, n), n);
    metadata->encoded_bytes += room;
    return 0;
}

void grpc_metadata_done(struct grpc_metadata *metadata)
{
    for (size_t i = 0; i < metadata->n_items; i++) {
        free((char *)(uintptr_t)metadata->items[i].key);
        free((uint8_t *)(uintptr_t)metadata->items[i].value);
    }
    free(metadata->items);
    *metadata = (struct grpc_metadata){};
}

const struct grpc_metadatum *grpc_metadata_find(const struct grpc_metadata *metadata,
                                                const char *key, size_t i)
{
    for (size_t k = 0; k < metadata->n_items; k++)
        if (strcmp(metadata->items[k].key, key) == 0 && i-- == 0)
            return &metadata->items[k];
    return NULL;
}

uint8_t *grpc_metadata_write(const struct grpc_metadata *metadata, uint8_t *to)
{
    for (size_t i = 0; i < metadata->n_items; i++) {
        const struct grpc_metadatum *item = &metadata->items[i];
        if (!is_binary((struct h2_text){ item->key, strlen(item->key) })) {
            to = h2_codec_encode_header(to, item->key, item->value, item->n);
            continue;
        }
        CLEANUP_FREE char *text = grpc_wire_base64(item->value, item->n);
        to = h2_codec_encode_header(to, item->key, text, strlen(text));
    }
    return to;
}
