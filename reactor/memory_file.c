#include "reactor/memory_file.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reactor/cleanup.h"

/* MFD_NOEXEC_SEAL, which the headers of older distributions lack. */
#define MEMORY_NOEXEC_SEAL 0x0008U

/* A host may forbid those that could be executed (vm.memfd_noexec=2), and kernels before 6.3 know
 * no others. */
static int create(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMORY_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

int memory_file_new(const char *name, const void *bytes, size_t n_bytes)
{
    CLEANUP_CLOSE int fd = create(name);

    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, bytes, n_bytes);
    if (n >= 0 && (size_t)n != n_bytes)
        return -ENOSPC;
    if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return TAKE_FD(fd);
}
