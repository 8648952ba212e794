/* Which range of the host's users a task's user namespace has, where that must be known before it
 * starts: else nspawn picks one. */
#pragma once

#include <sys/types.h>

#include "reactor/fail.h"
#include "reactor/strv.h"

/* Users in the range of a user namespace, as nspawn has them (--private-users=BASE:65536). */
#define USER_RANGE_IDS 65536

/* For a task whose directories `dirs` are given to the range: the one that they have by now, else
 * one that no running container has (nspawn holds a lock on it) and no other allocation beside
 * `alloc_dir`. The search begins at a place told by `alloc_id` (NULL: by `alloc_dir`), so that the
 * tasks of an allocation have the same. Changes nothing. `alloc_dir` is absolute. -EBUSY: none is
 * free. */
int user_range_choose(const char *alloc_dir, const char *alloc_id, const struct strv *dirs,
                      uid_t *ret_base, struct fail *reterr);
