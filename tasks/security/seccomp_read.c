#include "tasks/security/seccomp_read.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tasks/kernel/file.h"

/* Some 60 lines of at most 100 bytes, and the groups of a user. */
#define STATUS_BYTES_MAX ((size_t)64 * 1024)

int seccomp_read_status(pid_t pid, const char *name, int base, uint64_t *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/status", (int)pid);
    CLEANUP_FREE char *key = alloc_printf("\n%s:\t", name), *text = NULL;

    int r = file_read(AT_FDCWD, path, 0, STATUS_BYTES_MAX, &text, NULL);
    if (r < 0)
        return r;
    const char *line = strstr(text, key);
    if (line == NULL)
        return -ENOENT;
    *ret = strtoull(line + strlen(key), NULL, base);
    return 0;
}

/* --- tracing --------------------------------------------------------------------------------- */

struct list {
    uint8_t *bytes;
    size_t n_bytes;
};

static int add_program(struct list *list, pid_t traced, unsigned long index)
{
    long n = ptrace(PTRACE_SECCOMP_GET_FILTER, traced, index, NULL);

    if (n < 0)
        return -errno;
    if (n == 0 || n > INSIDE_FILTERS_PROGRAM_MAX)
        return -EBADMSG;
    uint32_t length = (uint32_t)n;
    size_t n_code = length * sizeof(struct sock_filter);
    if (list->n_bytes + sizeof(length) + n_code > INSIDE_FILTERS_BYTES_MAX)
        return -EFBIG;
    CLEANUP_FREE struct sock_filter *code = alloc_zero(length, sizeof(*code));
    if (ptrace(PTRACE_SECCOMP_GET_FILTER, traced, index, code) != n)
        return errno != 0 ? -errno : -EBADMSG;
    list->bytes = alloc_grow(list->bytes, list->n_bytes + sizeof(length) + n_code, 1);
    memcpy(list->bytes + list->n_bytes, &length, sizeof(length));
    memcpy(list->bytes + list->n_bytes + sizeof(length), code, n_code);
    list->n_bytes += sizeof(length) + n_code;
    return 0;
}

/* The signal with which it stopped and is to go on; 0: it was stopped by us only. */
static int stop(pid_t traced)
{
    int status;

    if (ptrace(PTRACE_INTERRUPT, traced, NULL, NULL) < 0)
        return -errno;
    while (waitpid(traced, &status, __WALL) < 0)
        if (errno != EINTR)
            return -errno;
    if (!WIFSTOPPED(status))
        return -ESRCH;
    return status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
}

static int read_stopped(struct list *list, pid_t traced, uint64_t n_filters)
{
    int r = 0;

    for (uint64_t i = 0; i < n_filters && r >= 0; i++)
        r = add_program(list, traced, i);
    return r;
}

static int trace(struct list *list, pid_t traced, uint64_t n_filters)
{
    if (ptrace(PTRACE_SEIZE, traced, NULL, NULL) < 0)
        return -errno;
    int signal = stop(traced);
    if (signal < 0)
        return signal;
    int r = read_stopped(list, traced, n_filters);
    (void)ptrace(PTRACE_DETACH, traced, NULL, (void *)(intptr_t)signal);
    return r;
}

int seccomp_read(pid_t pid, pid_t traced, uint8_t **ret_bytes, size_t *ret_n_bytes,
                 struct fail *reterr)
{
    struct list list = {};
    uint64_t n_filters;

    int r = seccomp_read_status(pid, "Seccomp_filters", 10, &n_filters);
    if (r >= 0 && n_filters > 0)
        r = trace(&list, traced, n_filters);
    if (r < 0) {
        free(list.bytes);
        return fail_set(reterr, r, "cannot read the seccomp filters of process %d: %s", (int)pid,
                        r == -EINVAL || r == -EIO ? "the kernel lacks CONFIG_CHECKPOINT_RESTORE"
                                                  : strerror(-r));
    }
    *ret_bytes = list.bytes;
    *ret_n_bytes = list.n_bytes;
    return 0;
}
