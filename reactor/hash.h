/* A short name for many bytes. No defence: whoever chooses the bytes can make two alike. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits. */
uint64_t hash_bytes(const void *bytes, size_t n_bytes);
