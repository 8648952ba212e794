/* Files that are nowhere but in memory, for what a process is given as a descriptor. */
#pragma once

#include <stddef.h>

/* A descriptor, which can be sealed, of a file that holds the bytes; at its beginning. Negative
 * errno, -ENOSPC when memory is short. */
int memory_file_new(const char *name, const void *bytes, size_t n_bytes);
