#include "tasks/spec/machine_name.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/hash.h"

/* "-" and the hash */
#define SUFFIX_BYTES 17

/* Stable over versions and machines, which a keyed hash is not. Nobody gains by finding two names
 * with one hash: an alloc id, which Nomad makes at random, is in each of them, and machined refuses
 * a name that is taken. */
static uint64_t hash(const char *text)
{
    return hash_bytes(text, strlen(text));
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool machine_name_is_valid(const char *name)
{
    char before = '.';

    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '.' ? !is_alphanumeric(before) : *c == '-' ? before == '.' : !is_alphanumeric(*c))
            return false;
        before = *c;
    }
    return is_alphanumeric(before) && strlen(name) <= MACHINE_NAME_BYTES_MAX;
}

/* Anything to something valid, which may be empty; shortens, never lengthens. */
static void sanitise(char *name)
{
    char *to = name;

    for (const char *from = name; *from != '\0'; from++) {
        char c = is_alphanumeric(*from) || *from == '.' ? *from : '-';
        bool at_part_start = to == name || to[-1] == '.';
        if (c != '.' && !(c == '-' && at_part_start)) {
            *to++ = c;
        } else if (c == '.' && !at_part_start) {
            while (to > name && to[-1] == '-')
                to--;
            if (to > name && to[-1] != '.')
                *to++ = c;
        }
    }
    *to = '\0';
}

char *machine_name_make(const char *task, const char *alloc_id)
{
    CLEANUP_FREE char *wanted = alloc_printf("%s-%s", task, alloc_id);

    if (machine_name_is_valid(wanted))
        return TAKE_PTR(wanted);

    CLEANUP_FREE char *clean = alloc_strdup(wanted);
    sanitise(clean);
    int n = (int)strnlen(clean, MACHINE_NAME_BYTES_MAX - SUFFIX_BYTES);
    while (n > 0 && !is_alphanumeric(clean[n - 1]))
        n--;
    /* Also where cutting was not needed: "a_b" and "a-b" are two tasks. */
    return alloc_printf("%.*s%s%016" PRIx64, n, clean, n > 0 ? "-" : "", hash(wanted));
}

char *machine_name_slice_id(const char *machine)
{
    return alloc_printf("%016" PRIx64, hash(machine));
}

char *machine_name_slice(const char *machine)
{
    return alloc_printf("nspawn-%016" PRIx64 ".slice", hash(machine));
}

char *machine_name_unit(const char *machine)
{
    return alloc_printf("nspawn-%s.service", machine);
}

char *machine_name_logs_unit(const char *machine)
{
    return alloc_printf("nspawn-%s-logs.service", machine);
}
