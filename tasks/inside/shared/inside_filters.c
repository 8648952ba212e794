#include "tasks/inside/shared/inside_filters.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct reader {
    const uint8_t *at;
    size_t n_left;
};

/* The next program, not aligned: 1; 0 at the end; -EBADMSG. */
static int next_program(struct reader *reader, const uint8_t **ret_code, uint32_t *ret_n)
{
    uint32_t n;

    if (reader->n_left == 0)
        return 0;
    if (reader->n_left < sizeof(n))
        return -EBADMSG;
    memcpy(&n, reader->at, sizeof(n));
    size_t n_bytes = n * sizeof(struct sock_filter);
    if (n == 0 || n > INSIDE_FILTERS_PROGRAM_MAX || reader->n_left - sizeof(n) < n_bytes)
        return -EBADMSG;
    *ret_code = reader->at + sizeof(n);
    *ret_n = n;
    reader->at += sizeof(n) + n_bytes;
    reader->n_left -= sizeof(n) + n_bytes;
    return 1;
}

int inside_filters_check(const uint8_t *bytes, size_t n_bytes)
{
    struct reader reader = { .at = bytes, .n_left = n_bytes };
    const uint8_t *code;
    uint32_t n;
    int r;

    if (n_bytes > INSIDE_FILTERS_BYTES_MAX)
        return -EBADMSG;
    while ((r = next_program(&reader, &code, &n)) > 0)
        continue;
    return r;
}

static int install(const uint8_t *code, uint32_t n)
{
    size_t n_bytes = n * sizeof(struct sock_filter);
    CLEANUP_FREE struct sock_filter *aligned = alloc_memdup(code, n_bytes);
    struct sock_fprog program = { .len = (unsigned short)n, .filter = aligned };

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

int inside_filters_install(const uint8_t *bytes, size_t n_bytes)
{
    struct reader reader = { .at = bytes, .n_left = n_bytes };
    const uint8_t *code;
    uint32_t n;

    int r = inside_filters_check(bytes, n_bytes);
    while (r >= 0 && next_program(&reader, &code, &n) > 0)
        r = install(code, n);
    return r;
}
