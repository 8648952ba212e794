#include "tasks/nspawn/settings_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"

static char *path_of(const char *machine)
{
    return alloc_printf(SETTINGS_FILE_DIR "/%s.nspawn", machine);
}

static int fail_write(const char *path, struct fail *reterr)
{
    return fail_set_recoverable(reterr, -errno, "cannot write '%s': %s", path, strerror(errno));
}

int settings_file_write(const char *machine, const char *text, struct fail *reterr)
{
    CLEANUP_FREE char *path = path_of(machine);

    if (mkdir(SETTINGS_FILE_DIR, 0755) < 0 && errno != EEXIST)
        return fail_write(SETTINGS_FILE_DIR, reterr);
    if (unlink(path) < 0 && errno != ENOENT)
        return fail_write(path, reterr);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_write(path, reterr);
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(fd, text, left);
        if (n < 0)
            return fail_write(path, reterr);
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

void settings_file_remove(const char *machine)
{
    CLEANUP_FREE char *path = path_of(machine);

    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("cannot remove '%s': %s, ignoring", path, strerror(errno));
}
