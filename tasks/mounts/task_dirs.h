/* Nomad's directories of a task (alloc, local, secrets, and the logs read-only), and how they look
 * right inside a user namespace: by ID-mapped mounts where the file system can, else by shifting
 * the owners on the host (ownership.h), for which the task needs a range of users that is known
 * before it starts. In memory of the caller; zero-filled is empty. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/mounts/binds.h"
#include "tasks/spec/task_spec.h"

struct task_dirs {
    struct binds binds;
    struct strv shifted; /* host directories for ownership_new(); empty: none */
    /* Not 0: shifted is not empty, and the container must run with exactly this range,
     * --private-users=BASE:65536. All tasks of an allocation have the same. */
    uid_t base;
};

/* Reads `spec`'s alloc_dir, alloc_id, name and the variables NOMAD_ALLOC_DIR, NOMAD_TASK_DIR and
 * NOMAD_SECRETS_DIR (a variable that is missing means: not bound). `user_namespace`: whether the
 * task gets one. Looks at the directories, changes nothing; the same answer again for a task that
 * is recovered. -EINVAL: a path that can't be one, -ENOENT: a directory is missing, -EBUSY: no
 * range is free. */
int task_dirs_make(const struct task_spec *spec, bool user_namespace, struct task_dirs *ret,
                   struct fail *reterr);
void task_dirs_done(struct task_dirs *dirs);
