#include "tests/support/tasks/spec/pack.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

static const char *pack_value(msgpack_packer *packer, const char *c);

static void must(int condition)
{
    if (!condition)
        abort();
}

static const char *blanks(const char *c)
{
    return c + strspn(c, " \n");
}

static const char *pack_string(msgpack_packer *packer, const char *c)
{
    size_t n = strcspn(c, "'");

    must(c[n] == '\'');
    msgpack_pack_str_with_body(packer, c, n);
    return c + n + 1;
}

static const char *pack_number(msgpack_packer *packer, const char *c)
{
    size_t n = strspn(c, "-+.0123456789e");
    char *end;

    if (memchr(c, '.', n) != NULL)
        msgpack_pack_double(packer, strtod(c, &end));
    else
        msgpack_pack_int64(packer, strtoll(c, &end, 10));
    must(n > 0 && end == c + n);
    return end;
}

/* The count comes before the items: the first pass, into nothing, counts. */
static const char *pack_items(msgpack_packer *packer, const char *c, bool map, size_t *ret_n)
{
    char close = map ? '}' : ']';

    *ret_n = 0;
    for (c = blanks(c); *c != close; c = blanks(c)) {
        if (map) {
            c = blanks(pack_value(packer, c));
            must(*c == ':');
            c++;
        }
        c = blanks(pack_value(packer, c));
        must(*c == ',' || *c == close);
        c += *c == ',';
        (*ret_n)++;
    }
    return c + 1;
}

static int write_nothing(void *data, const char *bytes, size_t n_bytes)
{
    (void)data;
    (void)bytes;
    (void)n_bytes;
    return 0;
}

static const char *pack_container(msgpack_packer *packer, const char *c, bool map)
{
    msgpack_packer counting;
    size_t n;

    msgpack_packer_init(&counting, NULL, write_nothing);
    (void)pack_items(&counting, c, map, &n);
    if (map)
        msgpack_pack_map(packer, n);
    else
        msgpack_pack_array(packer, n);
    return pack_items(packer, c, map, &n);
}

static const char *pack_value(msgpack_packer *packer, const char *c)
{
    c = blanks(c);
    if (strncmp(c, "null", 4) == 0)
        return msgpack_pack_nil(packer), c + 4;
    if (strncmp(c, "true", 4) == 0)
        return msgpack_pack_true(packer), c + 4;
    if (strncmp(c, "false", 5) == 0)
        return msgpack_pack_false(packer), c + 5;
    if (*c == '\'')
        return pack_string(packer, c + 1);
    if (*c == '{' || *c == '[')
        return pack_container(packer, c + 1, *c == '{');
    return pack_number(packer, c);
}

struct packed pack(const char *json)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    must(*blanks(pack_value(&packer, json)) == '\0');
    struct packed packed = {
        .bytes = alloc_memdup(buffer.data, buffer.size),
        .n_bytes = buffer.size,
    };
    msgpack_sbuffer_destroy(&buffer);
    return packed;
}

void packed_done(struct packed *packed)
{
    free(packed->bytes);
    *packed = (struct packed){};
}
