#include "tasks/nspawn/settings_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"

static char *path_of(const char *machine)
{
    return alloc_printf(SETTINGS_FILE_DIR "/%s.nspawn", machine);
}

int settings_file_write(const char *machine, const char *text, struct fail *reterr)
{
    CLEANUP_FREE char *path = path_of(machine);

    int r = mkdir(SETTINGS_FILE_DIR, 0755) < 0 && errno != EEXIST ? -errno : 0;
    if (r >= 0)
        r = file_write(path, text, strlen(text), 0600);
    if (r < 0)
        return fail_set_recoverable(reterr, r, "cannot write '%s': %s", path, strerror(-r));
    return 0;
}

void settings_file_remove(const char *machine)
{
    CLEANUP_FREE char *path = path_of(machine);

    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("cannot remove '%s': %s, ignoring", path, strerror(errno));
}
