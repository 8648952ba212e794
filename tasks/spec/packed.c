#include "tasks/spec/packed.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

struct scan {
    const uint8_t *bytes;
    size_t n_bytes, position;
    size_t n_items;
    struct fail *reterr;
};

/* What follows the first byte of an object. */
struct item {
    unsigned length_bytes; /* size of the length field, 0: `length` is in the first byte */
    size_t length;         /* payload bytes, or items */
    unsigned n_children;   /* for each of the `length` items; 0: the length counts bytes */
};

static int bad(const struct scan *scan, const char *what)
{
    return fail_set(scan->reterr, -EINVAL, "not valid msgpack: %s at byte %zu", what,
                    scan->position);
}

static int skip(struct scan *scan, size_t n_bytes)
{
    if (n_bytes > scan->n_bytes - scan->position) {
        scan->position = scan->n_bytes;
        return bad(scan, "cut short");
    }
    scan->position += n_bytes;
    return 0;
}

/* False: a byte that we do not take (the unused one, extension types). */
static bool item_by_first_byte(uint8_t byte, struct item *ret)
{
    *ret = (struct item){};
    switch (byte) {
    case 0x00 ... 0x7f: /* positive fixint */
    case 0xe0 ... 0xff: /* negative fixint */
    case 0xc0:          /* nil */
    case 0xc2 ... 0xc3: /* false, true */
        return true;
    case 0x80 ... 0x8f:
        *ret = (struct item){ .length = byte & 0x0f, .n_children = 2 };
        return true;
    case 0x90 ... 0x9f:
        *ret = (struct item){ .length = byte & 0x0f, .n_children = 1 };
        return true;
    case 0xa0 ... 0xbf:
        *ret = (struct item){ .length = byte & 0x1f };
        return true;
    case 0xc4 ... 0xc6: /* bin */
        *ret = (struct item){ .length_bytes = 1U << (byte - 0xc4) };
        return true;
    case 0xca ... 0xcb: /* float */
        *ret = (struct item){ .length = 4U << (byte - 0xca) };
        return true;
    case 0xcc ... 0xcf: /* unsigned */
        *ret = (struct item){ .length = 1U << (byte - 0xcc) };
        return true;
    case 0xd0 ... 0xd3: /* signed */
        *ret = (struct item){ .length = 1U << (byte - 0xd0) };
        return true;
    case 0xd9 ... 0xdb: /* str */
        *ret = (struct item){ .length_bytes = 1U << (byte - 0xd9) };
        return true;
    case 0xdc ... 0xdd: /* array */
        *ret = (struct item){ .length_bytes = 2U << (byte - 0xdc), .n_children = 1 };
        return true;
    case 0xde ... 0xdf: /* map */
        *ret = (struct item){ .length_bytes = 2U << (byte - 0xde), .n_children = 2 };
        return true;
    default:
        return false;
    }
}

static int read_length(struct scan *scan, struct item *item)
{
    size_t from = scan->position;
    int r = skip(scan, item->length_bytes);
    if (r < 0)
        return r;

    for (size_t i = from; i < scan->position; i++)
        item->length = item->length << 8 | scan->bytes[i];
    return 0;
}

static int scan_object(struct scan *scan, unsigned depth)
{
    struct item item;

    if (scan->position == scan->n_bytes)
        return bad(scan, "cut short");
    if (++scan->n_items > PACKED_READ_ITEMS_MAX)
        return fail_set(scan->reterr, -E2BIG, "more than %d values", PACKED_READ_ITEMS_MAX);
    if (!item_by_first_byte(scan->bytes[scan->position], &item))
        return bad(scan, "a kind of value that has no place here");
    scan->position++;

    int r = read_length(scan, &item);
    if (r < 0)
        return r;
    if (item.n_children == 0)
        return skip(scan, item.length);
    if (depth == PACKED_READ_DEPTH_MAX)
        return fail_set(scan->reterr, -E2BIG, "nested deeper than %d levels",
                        PACKED_READ_DEPTH_MAX);

    /* At most 2 * (2^32 - 1), and each turn takes a byte of the input or ends. */
    for (size_t n = item.length * item.n_children; n > 0; n--) {
        r = scan_object(scan, depth + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int packed_read(const uint8_t *bytes, size_t n_bytes, msgpack_unpacked *ret, struct fail *reterr)
{
    struct scan scan = { .bytes = bytes, .n_bytes = n_bytes, .reterr = reterr };
    size_t offset = 0;

    if (n_bytes > PACKED_READ_BYTES_MAX)
        return fail_set(reterr, -E2BIG, "%zu bytes; at most %zu are taken", n_bytes,
                        PACKED_READ_BYTES_MAX);
    int r = scan_object(&scan, 1);
    if (r < 0)
        return r;
    if (scan.position < n_bytes)
        return bad(&scan, "something behind the end");

    /* The walk above let through nothing that this refuses, so only memory can be missing. */
    if (msgpack_unpack_next(ret, (const char *)bytes, n_bytes, &offset) != MSGPACK_UNPACK_SUCCESS)
        return fail_set(reterr, -EINVAL, "not valid msgpack");
    return 0;
}

const char *packed_kind(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return "nothing";
    case MSGPACK_OBJECT_BOOLEAN:
        return "a bool";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return "a number";
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        return "a string";
    case MSGPACK_OBJECT_ARRAY:
        return "a list";
    case MSGPACK_OBJECT_MAP:
        return "a map";
    case MSGPACK_OBJECT_EXT:
        break;
    }
    assert(false && "an extension type got through packed_read");
    return NULL;
}

/* msgpack-c's pointer to no bytes at all may be NULL, which the C library's functions don't
 * take. */
static void give_text(const char *text, size_t n_bytes, const char **ret, size_t *ret_n_bytes)
{
    *ret = n_bytes > 0 ? text : "";
    *ret_n_bytes = n_bytes;
}

bool packed_text(const msgpack_object *object, const char **ret, size_t *ret_n_bytes)
{
    if (object->type == MSGPACK_OBJECT_STR)
        give_text(object->via.str.ptr, object->via.str.size, ret, ret_n_bytes);
    else if (object->type == MSGPACK_OBJECT_BIN)
        give_text(object->via.bin.ptr, object->via.bin.size, ret, ret_n_bytes);
    else
        return false;
    return true;
}
