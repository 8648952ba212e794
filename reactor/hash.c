#include "reactor/hash.h"

uint64_t hash_bytes(const void *bytes, size_t n_bytes)
{
    const uint8_t *byte = bytes;
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n_bytes; i++)
        value = (value ^ byte[i]) * UINT64_C(0x100000001b3);
    return value;
}
