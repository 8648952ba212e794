/* UTF-8 (RFC 3629): what protobuf strings and log records must be. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define UTF8_SEQUENCE_MAX 4

/* Bytes of the well-formed sequence at `s`, of which `n` bytes are there; 0: ill-formed or cut. */
size_t utf8_sequence(const char *s, size_t n);
bool utf8_is_valid(const char *s, size_t n);
/* A copy in which each ill-formed byte is replaced by U+FFFD; heap. */
char *utf8_clean(const char *s);
