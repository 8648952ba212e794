#include "tasks/persist/driver_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/packed.h"

/* Raised when a plugin that knows the older ones only must not touch the task. */
#define STATE_VERSION 1

/* More than a task has directories. */
#define STATE_LIST_ITEMS_MAX 1024

enum field_type { FIELD_STRING, FIELD_BOOL, FIELD_UINT32, FIELD_UINT64, FIELD_STRV, FIELD_MAX };

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    bool required;
};

#define OFFSET(field, c_type)                                                                      \
    (offsetof(struct driver_state, field) +                                                        \
     0 * sizeof(char[__builtin_types_compatible_p(                                                 \
                             __typeof__(((struct driver_state *)NULL)->field), c_type)             \
                             ? 1                                                                   \
                             : -1]))
#define FIELD(type_, field, c_type) .key = #field, .type = (type_), .offset = OFFSET(field, c_type)

/* A key stays what it is for ever. */
static const struct field fields[] = {
    { FIELD(FIELD_STRING, machine, char *), .required = true },
    { FIELD(FIELD_STRING, invocation_id, char *), .required = true },
    { FIELD(FIELD_STRING, boot_id, char *), .required = true },
    { FIELD(FIELD_STRING, stdout_path, char *) },
    { FIELD(FIELD_STRING, stderr_path, char *) },
    { FIELD(FIELD_STRING, runtime_dir, char *) },
    { FIELD(FIELD_STRING, image, char *) },
    { FIELD(FIELD_BOOL, boot, bool) },
    { FIELD(FIELD_BOOL, as_pid2, bool) },
    { FIELD(FIELD_UINT32, uid_base, uint32_t) },
    { FIELD(FIELD_STRV, shifted_dirs, struct strv) },
    { FIELD(FIELD_UINT64, started_usec, uint64_t) },
    {},
};

union field_pointer {
    void *any;
    char **string;
    bool *boolean;
    uint32_t *uint32;
    uint64_t *uint64;
    struct strv *strv;
};

static union field_pointer pointer(const struct field *field, struct driver_state *state)
{
    return (union field_pointer){ .any = (char *)state + field->offset };
}

/* --- out ------------------------------------------------------------------------------------- */

/* msgpack-c's packers fail only where the buffer can't grow. */
static void packed(int r)
{
    if (r < 0)
        abort();
}

static void pack_text(msgpack_packer *packer, const char *text)
{
    packed(msgpack_pack_str(packer, strlen(text)));
    packed(msgpack_pack_str_body(packer, text, strlen(text)));
}

static void pack_list(msgpack_packer *packer, const struct strv *list)
{
    packed(msgpack_pack_array(packer, list->n_items));
    for (size_t i = 0; i < list->n_items; i++)
        pack_text(packer, list->items[i]);
}

static void pack_field(msgpack_packer *packer, const struct field *field, union field_pointer value)
{
    pack_text(packer, field->key);
    switch (field->type) {
    case FIELD_STRING:
        if (*value.string != NULL)
            pack_text(packer, *value.string);
        else
            packed(msgpack_pack_nil(packer));
        break;
    case FIELD_BOOL:
        packed(*value.boolean ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
        break;
    case FIELD_UINT32:
        packed(msgpack_pack_uint32(packer, *value.uint32));
        break;
    case FIELD_UINT64:
        packed(msgpack_pack_uint64(packer, *value.uint64));
        break;
    case FIELD_STRV:
        pack_list(packer, value.strv);
        break;
    case FIELD_MAX:
        assert(false && "a row without a type");
    }
}

void driver_state_encode(const struct driver_state *state, uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    CLEANUP(msgpack_sbuffer_destroy) msgpack_sbuffer buffer = {};
    struct driver_state borrowed = *state;
    msgpack_packer packer;

    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    packed(msgpack_pack_map(&packer,
                            sizeof(fields) / sizeof(fields[0]))); /* the end is version's */
    pack_text(&packer, "version");
    packed(msgpack_pack_uint32(&packer, STATE_VERSION));
    for (const struct field *field = fields; field->key != NULL; field++)
        pack_field(&packer, field, pointer(field, &borrowed));
    *ret_bytes = alloc_memdup(buffer.data, buffer.size);
    *ret_n_bytes = buffer.size;
}

/* --- in -------------------------------------------------------------------------------------- */

static int damaged(const char *key, const char *expected, struct fail *reterr)
{
    return fail_set(reterr, -EINVAL, "the task's saved state is damaged: '%s' is not %s", key,
                    expected);
}

static int read_text(const char *key, const msgpack_object *object, char **ret, struct fail *reterr)
{
    const char *text;
    size_t n_bytes;

    if (!packed_text(object, &text, &n_bytes) || memchr(text, '\0', n_bytes) != NULL)
        return damaged(key, "a text", reterr);
    *ret = alloc_strndup(text, n_bytes);
    return 0;
}

static int read_list(const char *key, const msgpack_object *object, struct strv *ret,
                     struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size > STATE_LIST_ITEMS_MAX)
        return damaged(key, "a list", reterr);
    for (size_t i = 0; i < object->via.array.size; i++) {
        char *text = NULL;
        int r = read_text(key, &object->via.array.ptr[i], &text, reterr);
        if (r < 0)
            return r;
        strv_push_owned(ret, text);
    }
    return 0;
}

static int read_number(const char *key, const msgpack_object *object, uint64_t max, uint64_t *ret,
                       struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER || object->via.u64 > max)
        return damaged(key, "a number in its range", reterr);
    *ret = object->via.u64;
    return 0;
}

static int read_field(const struct field *field, const msgpack_object *object,
                      union field_pointer value, struct fail *reterr)
{
    uint64_t number = 0;
    int r;

    if (object->type == MSGPACK_OBJECT_NIL)
        return 0;
    switch (field->type) {
    case FIELD_STRING:
        return read_text(field->key, object, value.string, reterr);
    case FIELD_BOOL:
        if (object->type != MSGPACK_OBJECT_BOOLEAN)
            return damaged(field->key, "a bool", reterr);
        *value.boolean = object->via.boolean;
        return 0;
    case FIELD_UINT32:
        r = read_number(field->key, object, UINT32_MAX, &number, reterr);
        *value.uint32 = (uint32_t)number;
        return r;
    case FIELD_UINT64:
        return read_number(field->key, object, UINT64_MAX, value.uint64, reterr);
    case FIELD_STRV:
        return read_list(field->key, object, value.strv, reterr);
    case FIELD_MAX:
        break;
    }
    assert(false && "a row without a type");
    return -EINVAL;
}

/* The first of that name; later ones of it are never looked at. */
static const msgpack_object *entry(const msgpack_object_map *map, const char *key)
{
    for (size_t i = 0; i < map->size; i++) {
        const char *text;
        size_t n_bytes;
        if (packed_text(&map->ptr[i].key, &text, &n_bytes) && n_bytes == strlen(key) &&
            memcmp(text, key, n_bytes) == 0)
            return &map->ptr[i].val;
    }
    return NULL;
}

static int check_version(const msgpack_object_map *map, struct fail *reterr)
{
    const msgpack_object *object = entry(map, "version");
    uint64_t version = 0;

    if (object == NULL)
        return damaged("version", "there", reterr);
    int r = read_number("version", object, UINT64_MAX, &version, reterr);
    if (r < 0)
        return r;
    if (version > STATE_VERSION)
        return fail_set(reterr, -EPROTONOSUPPORT,
                        "the task's saved state has version %llu, this plugin knows up to %d: it "
                        "was started by a newer plugin; install that one again to recover it",
                        (unsigned long long)version, STATE_VERSION);
    return 0;
}

static int read_fields(struct driver_state *state, const msgpack_object *object,
                       struct fail *reterr)
{
    if (object->type != MSGPACK_OBJECT_MAP)
        return fail_set(reterr, -EINVAL,
                        "the task's saved state is damaged: expected a map, got %s",
                        packed_kind(object));
    int r = check_version(&object->via.map, reterr);
    if (r < 0)
        return r;
    for (const struct field *field = fields; field->key != NULL; field++) {
        const msgpack_object *value = entry(&object->via.map, field->key);
        if (value != NULL)
            r = read_field(field, value, pointer(field, state), reterr);
        if (r < 0)
            return r;
        if (field->required && *pointer(field, state).string == NULL)
            return damaged(field->key, "there", reterr);
    }
    return 0;
}

int driver_state_decode(struct driver_state *state, const uint8_t *bytes, size_t n_bytes,
                        struct fail *reterr)
{
    CLEANUP(msgpack_unpacked_destroy) msgpack_unpacked unpacked = {};

    int r = packed_read(bytes, n_bytes, &unpacked, reterr);
    if (r < 0) {
        fail_prefix(reterr, "the task's saved state is damaged");
        return r;
    }
    r = read_fields(state, &unpacked.data, reterr);
    if (r < 0)
        driver_state_done(state);
    return r;
}

void driver_state_done(struct driver_state *state)
{
    for (const struct field *field = fields; field->key != NULL; field++) {
        if (field->type == FIELD_STRING)
            free(*pointer(field, state).string);
        if (field->type == FIELD_STRV)
            strv_done(pointer(field, state).strv);
    }
    *state = (struct driver_state){};
}
