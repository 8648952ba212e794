#include "tasks/spec/duration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a number: more can't be a time that anybody means, and never overflows. */
#define DIGITS_MAX 8

static const struct {
    const char *name;
    uint64_t usec;
} units[] = {
    { "ms", 1000 },
    { "s", UINT64_C(1000000) },
    { "m", UINT64_C(60000000) },
    { "h", UINT64_C(3600000000) },
};

/* 0: there is no such unit. */
static uint64_t find_unit(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strlen(units[i].name) == n && strncmp(units[i].name, name, n) == 0)
            return units[i].usec;
    return 0;
}

int duration_parse(const char *text, uint64_t max_usec, uint64_t *ret_usec)
{
    uint64_t sum = 0;

    while (*text != '\0') {
        size_t n_digits = strspn(text, "0123456789");
        size_t n_letters = strcspn(text + n_digits, "0123456789");
        uint64_t unit = find_unit(text + n_digits, n_letters);
        if (n_digits == 0 || n_digits > DIGITS_MAX || unit == 0)
            return -EINVAL;
        sum += strtoull(text, NULL, 10) * unit;
        if (sum > max_usec)
            return -EINVAL;
        text += n_digits + n_letters;
    }
    if (sum == 0)
        return -EINVAL;
    *ret_usec = sum;
    return 0;
}
