#include "tests/support/private_run.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

bool private_run_enter(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0 &&
           mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0;
}

int private_run_or_skip(void **state)
{
    (void)state;
    if (private_run_enter())
        return 0;
    (void)fprintf(stderr, "skipped: no mount namespace of its own: %s; run it as root\n",
                  strerror(errno));
    exit(EXIT_SUCCESS);
}
