/* Files of ours that are whole or not there: written beside, and renamed. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Replaces what is there. Negative errno: it is as before. */
int file_write(const char *path, const void *bytes, size_t n_bytes, mode_t mode);
