/* The seccomp programs under which a process stands, read by ptrace(2). It blocks, stops the
 * process for a moment, and waits for children: for a forked child only, never for the loop. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "reactor/fail.h"

/* `pid`: as in the caller's /proc; `traced`: the same process as ptrace(2) names it, which is
 * another number when the caller is in another pid namespace than its /proc. The list (heap; NULL
 * when there are none) is as tasks/inside/shared/inside_filters.h has it, and at most
 * INSIDE_FILTERS_BYTES_MAX long. */
int seccomp_read(pid_t pid, pid_t traced, uint8_t **ret_bytes, size_t *ret_n_bytes,
                 struct fail *reterr);

/* The value of a line "Name:\t<value>" of /proc/PID/status in this base; -ENOENT: no such line. */
int seccomp_read_status(pid_t pid, const char *name, int base, uint64_t *ret);
