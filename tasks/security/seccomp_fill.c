#include "tasks/security/seccomp_fill.h"

#include <errno.h>
#include <stdlib.h>

#include "reactor/cleanup.h"
#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/security/seccomp_key.h"
#include "tasks/security/seccomp_read.h"

struct source {
    pid_t leader;
    const char *key;
};

static int fill(const void *args)
{
    const struct source *source = args;
    CLEANUP(strv_done) struct strv libraries = {};
    CLEANUP_FREE uint8_t *programs = NULL;
    CLEANUP_FAIL struct fail fail = {};
    uint64_t nspawn = 0;
    size_t n = 0;

    int r = seccomp_read_status(source->leader, "PPid", 10, &nspawn);
    if (r >= 0)
        r = seccomp_key_mapped((pid_t)nspawn, NSPAWN_ARGV_PROGRAM, &libraries);
    if (r >= 0)
        r = seccomp_read(source->leader, source->leader, &programs, &n, &fail);
    if (r >= 0 && n == 0)
        r = -ENODATA;
    return r < 0 ? r
                 : seccomp_cache_store(SECCOMP_CACHE_DIR, source->key, &libraries, programs, n);
}

struct worker *seccomp_fill(sd_event *event, pid_t leader, const char *key, worker_done_fn done,
                            void *data)
{
    const struct source source = { .leader = leader, .key = key };

    return worker_new(event, fill, &source, SECCOMP_FILL_SEC, done, data);
}
