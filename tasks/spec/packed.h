/* The border at which bytes become a msgpack object. msgpack-c allocates what an array's header
 * announces before it has seen an item (five bytes may announce 96 GiB), so the structure is walked
 * and measured first; what passes is unpacked by msgpack-c. Pure. */
#pragma once

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"

/* Reads exactly one object, in which there are no extension types. `ret` is zero-filled, and to be
 * destroyed by msgpack_unpacked_destroy in any case; its strings point into `bytes`.
 * -EINVAL: cut short, damaged, with something behind it; -E2BIG: beyond a limit. */
int packed_read(const uint8_t *bytes, size_t n_bytes, msgpack_unpacked *ret, struct fail *reterr);

/* "a string", "a bool", "nothing"; for messages. */
const char *packed_kind(const msgpack_object *object);

/* Text of a str or bin object, never NULL; false: it is another kind. */
bool packed_text(const msgpack_object *object, const char **ret, size_t *ret_n_bytes);

/* Nomad's job files are 1 MiB at most; a config is a part of one. */
#define PACKED_READ_BYTES_MAX ((size_t)1 << 20)
/* A config has four: map, list, map, value. */
#define PACKED_READ_DEPTH_MAX 8
/* Each costs 24 bytes of memory, so this is 3 MiB; a whole job rarely has a thousand. */
#define PACKED_READ_ITEMS_MAX 131072
