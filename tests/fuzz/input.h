/* The bytes that a fuzzer gives, taken piece by piece as numbers and texts; past their end
 * everything is 0 or empty. In memory of the caller; pieces point into the same bytes.
 *
 * Each fuzz_<what>.c defines LLVMFuzzerTestOneInput. libFuzzer and AFL++ call it, and replay.c for
 * the corpus where there is neither. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/strv.h"

struct input {
    const uint8_t *bytes;
    size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

uint8_t input_u8(struct input *input);
/* Big-endian, of up to 8 bytes. */
uint64_t input_number(struct input *input, size_t n_bytes);
/* At most `n` bytes. */
struct input input_piece(struct input *input, size_t n);
/* A byte tells how long it is; 255: all the rest is meant; 254: the next byte, as often as sixteen
 * times the number that follows it. Cut at a NUL. Heap. */
char *input_text(struct input *input);
/* The same, but NULL when it is empty. */
char *input_optional(struct input *input);
/* Up to 16 texts. */
void input_texts(struct input *input, struct strv *ret);
/* Up to 16 pairs of texts. */
void input_pairs(struct input *input, struct pairs *ret);

/* What must hold after any input. A finding: aborts. */
#define MUST(condition) input_must((condition), #condition, __FILE__, __LINE__)
void input_must(bool holds, const char *condition, const char *file, int line);
