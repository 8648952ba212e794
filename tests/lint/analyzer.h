/* Read by clang-tidy ahead of each file. Its analyzer takes it for possible that a call fails and
 * leaves an errno of 0, so that `return -errno` means success and what comes next reads results that
 * were never written. It can't calculate with the sign of what it does not know (clang 14), so it
 * gets a choice of numbers. */
#pragma once

#include <errno.h>

int analyzer_any(void);

static inline int *analyzer_errno(void)
{
    int *error = __errno_location();

    switch (analyzer_any()) {
    case 0:
        *error = EAGAIN;
        break;
    case 1:
        *error = ENOENT;
        break;
    default:
        *error = EIO;
    }
    return error;
}

#undef errno
#define errno (*analyzer_errno())
