#include "reactor/utf8.h"

#include <stdint.h>
#include <string.h>

#include "reactor/alloc.h"

static const char replacement[] = "\xef\xbf\xbd";

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

/* Over-long forms, surrogates and what lies above U+10FFFF differ in the second byte only. */
static bool second_is_valid(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xe0:
        return second >= 0xa0;
    case 0xed:
        return second <= 0x9f;
    case 0xf0:
        return second >= 0x90;
    case 0xf4:
        return second <= 0x8f;
    default:
        return true;
    }
}

size_t utf8_sequence(const char *s, size_t n)
{
    if (n == 0)
        return 0;

    size_t length = sequence_length((unsigned char)s[0]);
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if (!is_continuation(s[i]))
            return 0;
    if (length > 2 && !second_is_valid((unsigned char)s[0], (unsigned char)s[1]))
        return 0;
    return length;
}

bool utf8_is_valid(const char *s, size_t n)
{
    while (n > 0) {
        size_t length = utf8_sequence(s, n);
        if (length == 0)
            return false;
        s += length;
        n -= length;
    }
    return true;
}

char *utf8_clean(const char *s)
{
    size_t n = strlen(s);
    char *text = alloc_zero(n * (sizeof(replacement) - 1) + 1, 1), *end = text;

    while (n > 0) {
        size_t length = utf8_sequence(s, n);
        if (length == 0) {
            end = stpcpy(end, replacement);
            length = 1;
        } else {
            end = mempcpy(end, s, length);
        }
        s += length;
        n -= length;
    }
    return text;
}
