/* Growing lists of strings and of key/value pairs, in memory of the caller; zero-filled is empty.
 * The lists own their strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strv {
    char **items; /* NULL-terminated once something was pushed; NULL when empty */
    size_t n_items;
};

void strv_push(struct strv *strv, const char *item);
void strv_push_owned(struct strv *strv, char *item);
void strv_printf(struct strv *strv, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool strv_contains(const struct strv *strv, const char *item);
void strv_copy(struct strv *to, const struct strv *from);
/* Items separated by `separator`; heap, "" when empty. */
char *strv_join(const struct strv *strv, const char *separator);
void strv_done(struct strv *strv);

struct pair {
    char *key, *value; /* value is never NULL */
};

struct pairs {
    struct pair *items;
    size_t n_items;
};

/* A key that is there gets the new value and keeps its place. */
void pairs_set(struct pairs *pairs, const char *key, const char *value);
/* NULL when not there. */
const char *pairs_get(const struct pairs *pairs, const char *key);
void pairs_copy(struct pairs *to, const struct pairs *from);
void pairs_done(struct pairs *pairs);
