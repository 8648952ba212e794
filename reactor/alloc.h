/* Memory that is there or the process ends. Tasks are systemd units and outlive us, so running out
 * of memory is answered by abort() and a restart of the plugin, never by half a state.
 * In return nobody allocates a size chosen from outside without a named maximum first. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* Zeroed. The caller frees with free(). Overflow of n * size aborts. */
void *alloc_zero(size_t n, size_t size)
    __attribute__((malloc, returns_nonnull, warn_unused_result));
/* Like reallocarray(); p may be NULL. */
void *alloc_grow(void *p, size_t n, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));
void *alloc_memdup(const void *p, size_t n) __attribute__((returns_nonnull, warn_unused_result));
/* NULL stays NULL. */
char *alloc_strdup(const char *s) __attribute__((warn_unused_result));
char *alloc_strndup(const char *s, size_t n) __attribute__((returns_nonnull, warn_unused_result));
char *alloc_printf(const char *format, ...)
        __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));
char *alloc_vprintf(const char *format, va_list args)
        __attribute__((format(printf, 1, 0), returns_nonnull, warn_unused_result));

#define ALLOC_NEW(type) ((type *)alloc_zero(1, sizeof(type)))
