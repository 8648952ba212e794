#include "tasks/inside/init_program.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/hash.h"
#include "reactor/strv.h"
#include "tasks/kernel/file.h"

__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "init_program_start:\n"
        ".incbin \"" INIT_PROGRAM_FILE "\"\n"
        "init_program_end:\n"
        ".balign 8\n"
        "init_program_size:\n"
        ".quad init_program_end - init_program_start\n"
        ".popsection\n");

extern const uint8_t init_program_start[] __attribute__((visibility("hidden")));
extern const uint64_t init_program_size __attribute__((visibility("hidden")));

/* /run is often mounted noexec: Debian's initramfs does so. */
static const char *const program_dirs[] = {
    "/var/cache/nomad-driver-nspawn",
    "/var/lib/nomad-driver-nspawn",
    "/run/nomad-driver-nspawn",
    NULL,
};

void init_program_bytes(const uint8_t **ret_bytes, size_t *ret_n_bytes)
{
    *ret_bytes = init_program_start;
    *ret_n_bytes = init_program_size;
}

static bool is_same(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid() ||
        (stat.st_mode & 07777) != 0755 || stat.st_size != (off_t)n_bytes)
        return false;
    CLEANUP_FREE char *found = NULL;
    size_t n_found;
    return file_read_fd(fd, n_bytes, &found, &n_found) >= 0 && n_found == n_bytes &&
           memcmp(found, bytes, n_bytes) == 0;
}

static int make_in(const char *dir, char **ret_path)
{
    const uint8_t *bytes;
    size_t n_bytes;
    struct statvfs fs;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (statvfs(dir, &fs) < 0)
        return -errno;
    if ((fs.f_flag & ST_NOEXEC) != 0)
        return -ENOEXEC;
    init_program_bytes(&bytes, &n_bytes);
    CLEANUP_FREE char *path = alloc_printf("%s/init-%016" PRIx64, dir, hash_bytes(bytes, n_bytes));
    int r = is_same(path, bytes, n_bytes) ? 0 : file_write(path, bytes, n_bytes, 0755);
    if (r >= 0)
        *ret_path = TAKE_PTR(path);
    return r;
}

int init_program_file_in(const char *const *dirs, char **ret_path, struct fail *reterr)
{
    CLEANUP(strv_done) struct strv reasons = {};

    for (; *dirs != NULL; dirs++) {
        int r = make_in(*dirs, ret_path);
        if (r >= 0)
            return 0;
        strv_printf(&reasons, "'%s' (%s)", *dirs,
                    r == -ENOEXEC ? "mounted noexec" : strerror(-r));
    }
    CLEANUP_FREE char *list = strv_join(&reasons, ", ");
    return fail_set_recoverable(reterr, -ENOEXEC,
                                "there is no directory for the init of single processes, a program "
                                "of 64 KiB: %s",
                                list);
}

int init_program_file(char **ret_path, struct fail *reterr)
{
    return init_program_file_in(program_dirs, ret_path, reterr);
}
