#include "tasks/kernel/cpu_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse_cpu(const char **text, unsigned *ret)
{
    unsigned cpu = 0;

    if (!isdigit((unsigned char)**text))
        return -EINVAL;
    for (; isdigit((unsigned char)**text); (*text)++) {
        cpu = cpu * 10 + (unsigned)(**text - '0');
        if (cpu >= CPU_LIST_CPUS_MAX)
            return -EINVAL;
    }
    *ret = cpu;
    return 0;
}

static int parse_range(const char **text, unsigned *ret_first, unsigned *ret_last)
{
    int r = parse_cpu(text, ret_first);
    if (r < 0)
        return r;
    *ret_last = *ret_first;
    if (**text != '-')
        return 0;
    (*text)++;
    r = parse_cpu(text, ret_last);
    if (r < 0)
        return r;
    return *ret_last >= *ret_first ? 0 : -EINVAL;
}

int cpu_list_parse(const char *text, uint8_t mask[CPU_LIST_BYTES], size_t *ret_n_bytes)
{
    size_t n_bytes = 0;

    memset(mask, 0, CPU_LIST_BYTES);
    while (text != NULL && *text != '\0') {
        unsigned first, last;

        int r = parse_range(&text, &first, &last);
        if (r < 0)
            return r;
        for (unsigned cpu = first; cpu <= last; cpu++)
            mask[cpu / 8] |= (uint8_t)(1U << (cpu % 8));
        if (last / 8 + 1 > n_bytes)
            n_bytes = last / 8 + 1;
        if (*text == ',' && text[1] != '\0')
            text++;
        else if (*text != '\0')
            return -EINVAL;
    }
    *ret_n_bytes = n_bytes;
    return 0;
}
