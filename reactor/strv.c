#include "reactor/strv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

void strv_push_owned(struct strv *strv, char *item)
{
    strv->items = (char **)alloc_grow((void *)strv->items, strv->n_items + 2, sizeof(char *));
    strv->items[strv->n_items++] = item;
    strv->items[strv->n_items] = NULL;
}

void strv_push(struct strv *strv, const char *item)
{
    strv_push_owned(strv, alloc_strdup(item));
}

void strv_printf(struct strv *strv, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    strv_push_owned(strv, alloc_vprintf(format, args));
    va_end(args);
}

bool strv_contains(const struct strv *strv, const char *item)
{
    for (size_t i = 0; i < strv->n_items; i++)
        if (strcmp(strv->items[i], item) == 0)
            return true;
    return false;
}

void strv_copy(struct strv *to, const struct strv *from)
{
    for (size_t i = 0; i < from->n_items; i++)
        strv_push(to, from->items[i]);
}

char *strv_join(const struct strv *strv, const char *separator)
{
    size_t length = 1, separator_length = strlen(separator);

    for (size_t i = 0; i < strv->n_items; i++)
        length += strlen(strv->items[i]) + separator_length;

    char *text = alloc_zero(length, 1), *end = text;
    for (size_t i = 0; i < strv->n_items; i++) {
        if (i > 0)
            end = stpcpy(end, separator);
        end = stpcpy(end, strv->items[i]);
    }
    return text;
}

void strv_done(struct strv *strv)
{
    for (size_t i = 0; i < strv->n_items; i++)
        free(strv->items[i]);
    free((void *)strv->items);
    *strv = (struct strv){};
}

static struct pair *find(const struct pairs *pairs, const char *key)
{
    for (size_t i = 0; i < pairs->n_items; i++)
        if (strcmp(pairs->items[i].key, key) == 0)
            return &pairs->items[i];
    return NULL;
}

void pairs_set(struct pairs *pairs, const char *key, const char *value)
{
    struct pair *pair = find(pairs, key);

    if (pair != NULL) {
        char *copy = alloc_strdup(value);
        free(pair->value);
        pair->value = copy;
        return;
    }
    pairs->items = alloc_grow(pairs->items, pairs->n_items + 1, sizeof(struct pair));
    pairs->items[pairs->n_items++] =
            (struct pair){ .key = alloc_strdup(key), .value = alloc_strdup(value) };
}

const char *pairs_get(const struct pairs *pairs, const char *key)
{
    const struct pair *pair = find(pairs, key);

    return pair != NULL ? pair->value : NULL;
}

void pairs_copy(struct pairs *to, const struct pairs *from)
{
    for (size_t i = 0; i < from->n_items; i++)
        pairs_set(to, from->items[i].key, from->items[i].value);
}

void pairs_done(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->n_items; i++) {
        free(pairs->items[i].key);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct pairs){};
}
