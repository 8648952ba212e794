/* Ownership of locals: a variable that owns something says so where it is declared, and gives it
 * up in one visible place (TAKE_PTR, TAKE_FD). */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_ptr(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close_fd(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd);
        errno = saved;
    }
}

#define CLEANUP_FREE  __attribute__((cleanup(cleanup_free_ptr)))
#define CLEANUP_CLOSE __attribute__((cleanup(cleanup_close_fd)))

/* CLEANUP(sd_bus_message_unrefp), CLEANUP(fail_done): any function that takes a pointer to the
 * variable. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(p)                 \
    ({                              \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })

#define TAKE_FD(fd)       \
    ({                    \
        int taken_ = (fd); \
        (fd) = -EBADF;    \
        taken_;           \
    })

/* Closes what is open and answers the value of a field that owns nothing. */
static inline int close_fd(int fd)
{
    cleanup_close_fd(&fd);
    return -EBADF;
}
