#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

uint8_t input_u8(struct input *input)
{
    return (uint8_t)input_number(input, 1);
}

uint64_t input_number(struct input *input, size_t n_bytes)
{
    struct input piece = input_piece(input, n_bytes);
    uint64_t number = 0;

    for (size_t i = 0; i < piece.n; i++)
        number = number << 8 | piece.bytes[i];
    return number;
}

struct input input_piece(struct input *input, size_t n)
{
    struct input piece = { input->bytes, n < input->n ? n : input->n };

    if (piece.n == 0) /* of no bytes at all, which may be NULL */
        return (struct input){ (const uint8_t *)"", 0 };
    input->bytes += piece.n;
    input->n -= piece.n;
    return piece;
}

static char *repeated(struct input *input)
{
    uint8_t c = input_u8(input);
    size_t n = input_number(input, 2) * 16;
    char *text = alloc_zero(n + 1, 1);

    memset(text, c, n);
    return text;
}

char *input_text(struct input *input)
{
    uint8_t n = input_u8(input);

    if (n == UINT8_MAX - 1)
        return repeated(input);
    struct input piece = input_piece(input, n == UINT8_MAX ? input->n : n);

    return alloc_strndup((const char *)piece.bytes, piece.n);
}

char *input_optional(struct input *input)
{
    char *text = input_text(input);

    if (text[0] != '\0')
        return text;
    free(text);
    return NULL;
}

void input_texts(struct input *input, struct strv *ret)
{
    for (unsigned n = input_u8(input) % 17; n > 0; n--)
        strv_push_owned(ret, input_text(input));
}

void input_pairs(struct input *input, struct pairs *ret)
{
    for (unsigned n = input_u8(input) % 17; n > 0; n--) {
        char *key = input_text(input), *value = input_text(input);

        pairs_set(ret, key, value);
        free(key);
        free(value);
    }
}

void input_must(bool holds, const char *condition, const char *file, int line)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}
