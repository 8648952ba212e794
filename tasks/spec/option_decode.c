#include "tasks/spec/option_decode.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tasks/spec/packed.h"

/* Enough to recognise a name by, in a message. */
#define NAME_SHOWN_MAX 64

static int decode_struct(const struct option_row *options, void *base, const msgpack_object *object,
                         struct fail *reterr);

static int wrong_type(const struct option_row *option, const char *expected,
                      const msgpack_object *object, struct fail *reterr)
{
    return fail_set(reterr, -EINVAL, "option '%s': expected %s, got %s", option->key, expected,
                    packed_kind(object));
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static int check_text(const struct option_row *option, const char *text, size_t n_bytes,
                      struct fail *reterr)
{
    if (!utf8_is_valid(text, n_bytes))
        return fail_set(reterr, -EINVAL,
                        "option '%s': text that is not UTF-8; remove the odd bytes", option->key);
    for (size_t i = 0; i < n_bytes; i++) {
        bool allowed = option->multiline && (text[i] == '\n' || text[i] == '\t');
        if (is_control(text[i]) && !allowed)
            return fail_set(reterr, -EINVAL,
                            "option '%s': the control character 0x%02x in the text; remove it",
                            option->key, (unsigned char)text[i]);
    }
    return 0;
}

/* `ret` is heap. */
static int decode_text(const struct option_row *option, const char *expected,
                       const msgpack_object *object, char **ret, struct fail *reterr)
{
    const char *text;
    size_t n_bytes;

    if (!packed_text(object, &text, &n_bytes))
        return wrong_type(option, expected, object, reterr);
    int r = check_text(option, text, n_bytes, reterr);
    if (r < 0)
        return r;
    *ret = alloc_strndup(text, n_bytes);
    return 0;
}

static int decode_bool(const struct option_row *option, const msgpack_object *object, bool *ret,
                       struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_BOOLEAN)
        return wrong_type(option, "a bool", object, reterr);
    *ret = object->via.boolean;
    return 0;
}

static int decode_tristate(const struct option_row *option, const msgpack_object *object,
                           enum tristate *ret, struct fail *reterr)
{
    bool value = false;
    int r = decode_bool(option, object, &value, reterr);
    if (r < 0)
        return r;
    *ret = value ? TRISTATE_YES : TRISTATE_NO;
    return 0;
}

static int decode_string(const struct option_row *option, const msgpack_object *object, char **ret,
                         struct fail *reterr)
{
    CLEANUP_FREE char *text = NULL;
    int r = decode_text(option, "a string", object, &text, reterr);
    if (r < 0)
        return r;
    assert(text != NULL);
    if (*text != '\0') {
        free(*ret); /* the schema's default */
        *ret = TAKE_PTR(text);
    }
    return 0;
}

static int check_count(const struct option_row *option, size_t n, struct fail *reterr)
{
    if (n > OPTION_DECODE_ITEMS_MAX)
        return fail_set(reterr, -E2BIG, "option '%s': %zu items; at most %d are taken", option->key,
                        n, OPTION_DECODE_ITEMS_MAX);
    return 0;
}

static int decode_list(const struct option_row *option, const msgpack_object *object,
                       struct strv *ret, struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_ARRAY)
        return wrong_type(option, "a list of strings", object, reterr);
    int r = check_count(option, object->via.array.size, reterr);
    if (r < 0)
        return r;

    for (size_t i = 0; i < object->via.array.size; i++) {
        char *text = NULL;
        r = decode_text(option, "a list of strings", &object->via.array.ptr[i], &text, reterr);
        if (r < 0)
            return r;
        strv_push_owned(ret, text);
    }
    return 0;
}

/* Numbers that are no exact float64 come as decimal text. */
static bool number_from_text(const char *text, size_t n_bytes, int64_t *ret)
{
    char copy[24], *end;

    if (n_bytes == 0 || n_bytes >= sizeof(copy))
        return false;
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    if (copy[strspn(copy, "-0123456789")] != '\0') /* strtoll would take blanks and a plus */
        return false;
    errno = 0;
    *ret = strtoll(copy, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool number_from_object(const msgpack_object *object, int64_t *ret)
{
    const char *text;
    size_t n_bytes;

    switch (object->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        *ret = (int64_t)object->via.u64;
        return object->via.u64 <= INT64_MAX;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        *ret = object->via.i64;
        return true;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        if (!(fabs(object->via.f64) < 0x1p63))
            return false;
        *ret = (int64_t)object->via.f64;
        return (double)(int64_t)object->via.f64 == object->via.f64;
    default:
        return packed_text(object, &text, &n_bytes) && number_from_text(text, n_bytes, ret);
    }
}

/* Heap; NULL on error. */
static int decode_map_value(const struct option_row *option, const msgpack_object *object,
                            char **ret, struct fail *reterr)
{
    int64_t number;

    if (option->type == OPTION_TYPE_STRING_MAP)
        return decode_text(option, "strings as values", object, ret, reterr);
    if (!number_from_object(object, &number))
        return wrong_type(option, "whole numbers as values", object, reterr);
    *ret = alloc_printf("%" PRId64, number);
    return 0;
}

static int decode_pair(const struct option_row *option, const msgpack_object_kv *kv,
                       struct pairs *map, struct fail *reterr)
{
    CLEANUP_FREE char *key = NULL, *value = NULL;

    int r = decode_text(option, "strings as keys", &kv->key, &key, reterr);
    if (r < 0)
        return r;
    if (pairs_get(map, key) != NULL)
        return fail_set(reterr, -EINVAL, "option '%s': '%s' is there twice; remove one",
                        option->key, key);
    if (kv->val.type == MSGPACK_OBJECT_NIL)
        return 0;
    r = decode_map_value(option, &kv->val, &value, reterr);
    if (r < 0)
        return r;
    pairs_set(map, key, value);
    return 0;
}

static int decode_map(const struct option_row *option, const msgpack_object *object,
                      struct pairs *ret, struct fail *reterr)
{
    CLEANUP(pairs_done) struct pairs map = {};

    if (object->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (object->type != MSGPACK_OBJECT_MAP)
        return wrong_type(option, "a map", object, reterr);
    int r = check_count(option, object->via.map.size, reterr);
    if (r < 0)
        return r;
    for (size_t i = 0; i < object->via.map.size; i++) {
        r = decode_pair(option, &object->via.map.ptr[i], &map, reterr);
        if (r < 0)
            return r;
    }
    pairs_copy(ret, &map);
    return check_count(option, ret->n_items, reterr);
}

static int decode_maps(const struct option_row *option, const msgpack_object *object,
                       struct pairs *ret, struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_ARRAY)
        return decode_map(option, object, ret, reterr);
    int r = check_count(option, object->via.array.size, reterr);
    if (r < 0)
        return r;
    for (size_t i = 0; i < object->via.array.size; i++) {
        r = decode_map(option, &object->via.array.ptr[i], ret, reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_block(const struct option_row *option, const msgpack_object *object, void **ret,
                        struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_MAP)
        return wrong_type(option, "a block", object, reterr);
    *ret = alloc_zero(1, option->nested_size);
    options_init(option->nested, *ret);
    int r = decode_struct(option->nested, *ret, object, reterr);
    if (r < 0)
        fail_prefix(reterr, "option '%s'", option->key);
    return r;
}

static int decode_option(const struct option_row *option, void *base, const msgpack_object *object,
                         struct fail *reterr)
{
    if (object->type == MSGPACK_OBJECT_NIL)
        return 0;
    switch (option->type) {
    case OPTION_TYPE_BOOL:
        return decode_bool(option, object, option_bool(option, base), reterr);
    case OPTION_TYPE_TRISTATE:
        return decode_tristate(option, object, option_tristate(option, base), reterr);
    case OPTION_TYPE_STRING:
        return decode_string(option, object, option_string(option, base), reterr);
    case OPTION_TYPE_STRING_LIST:
        return decode_list(option, object, option_string_list(option, base), reterr);
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        return decode_maps(option, object, option_map(option, base), reterr);
    case OPTION_TYPE_BLOCK:
        return decode_block(option, object, option_block(option, base), reterr);
    case OPTION_TYPE_MAX:
        break;
    }
    assert(false && "an option row without a type");
    return -EINVAL;
}

static int unknown(const char *key, size_t n_bytes, struct fail *reterr)
{
    CLEANUP_FREE char *cut = alloc_strndup(key,
                                           n_bytes < NAME_SHOWN_MAX ? n_bytes : NAME_SHOWN_MAX);
    CLEANUP_FREE char *clean = utf8_clean(cut);

    for (char *c = clean; *c != '\0'; c++)
        if (is_control(*c))
            *c = '?';
    return fail_set(reterr, -EINVAL, "unknown option '%s'; remove it or correct its name", clean);
}

static int decode_entry(const struct option_row *options, void *base, const msgpack_object_kv *kv,
                        bool *seen, struct fail *reterr)
{
    const char *key;
    size_t n_bytes;

    if (!packed_text(&kv->key, &key, &n_bytes))
        return fail_set(reterr, -EINVAL, "expected options by name, got %s", packed_kind(&kv->key));
    const struct option_row *option = option_find(options, key, n_bytes);
    if (option == NULL)
        return unknown(key, n_bytes, reterr);

    if (seen[option - options])
        return fail_set(reterr, -EINVAL, "option '%s' is there twice; remove one", option->key);
    seen[option - options] = true;
    return decode_option(option, base, &kv->val, reterr);
}

static int check_required(const struct option_row *options, void *base, struct fail *reterr)
{
    for (const struct option_row *option = options; option->key != NULL; option++)
        if (option->required && !option_is_set(option, base))
            return fail_set(reterr, -EINVAL, "option '%s' is missing: %s", option->key,
                            option->help);
    return 0;
}

static size_t count_rows(const struct option_row *options)
{
    size_t n = 0;

    while (options[n].key != NULL)
        n++;
    return n;
}

static int decode_struct(const struct option_row *options, void *base, const msgpack_object *object,
                         struct fail *reterr)
{
    CLEANUP_FREE bool *seen = alloc_zero(count_rows(options) + 1, sizeof(*seen)); /* a row each */

    if (object->type != MSGPACK_OBJECT_NIL && object->type != MSGPACK_OBJECT_MAP)
        return fail_set(reterr, -EINVAL, "expected options by name, got %s", packed_kind(object));
    if (object->type == MSGPACK_OBJECT_MAP)
        for (size_t i = 0; i < object->via.map.size; i++) {
            int r = decode_entry(options, base, &object->via.map.ptr[i], seen, reterr);
            if (r < 0)
                return r;
        }
    return check_required(options, base, reterr);
}

static int decode_bytes(const struct option_row *options, void *base, const uint8_t *bytes,
                        size_t n_bytes, struct fail *reterr)
{
    CLEANUP(msgpack_unpacked_destroy) msgpack_unpacked unpacked = {};

    if (n_bytes == 0)
        return check_required(options, base, reterr);
    int r = packed_read(bytes, n_bytes, &unpacked, reterr);
    if (r < 0) {
        fail_prefix(reterr, "config");
        return r;
    }
    return decode_struct(options, base, &unpacked.data, reterr);
}

int option_decode(const struct option_row *options, void *base, const uint8_t *bytes,
                  size_t n_bytes, struct fail *reterr)
{
    options_init(options, base);
    int r = decode_bytes(options, base, bytes, n_bytes, reterr);
    if (r < 0) {
        options_done(options, base);
        options_init(options, base);
    }
    return r;
}
