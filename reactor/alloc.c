#include "reactor/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

void *alloc_zero(size_t n, size_t size)
{
    return checked(calloc(n > 0 ? n : 1, size > 0 ? size : 1));
}

void *alloc_grow(void *p, size_t n, size_t size)
{
    if (n == 0 || size == 0) {
        n = 1;
        size = 1;
    }
    return checked(reallocarray(p, n, size));
}

void *alloc_memdup(const void *p, size_t n)
{
    void *copy = alloc_zero(n, 1);

    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

char *alloc_strdup(const char *s)
{
    return s != NULL ? checked(strdup(s)) : NULL;
}

char *alloc_strndup(const char *s, size_t n)
{
    return checked(strndup(s, n));
}

char *alloc_vprintf(const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        abort();
    return checked(text);
}

char *alloc_printf(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = alloc_vprintf(format, args);
    va_end(args);
    return text;
}
