/* What the two sides of the fake nspawn share. */
#pragma once

#include "tests/support/tasks/lifecycle/fake_nspawn.h"

/* The child process: runs one container and ends with it. The pid of PID 1 is written to
 * `leader_fd`; it goes into the cgroup of the name "payload" in `cgroup`, unless that is NULL. */
_Noreturn void fake_nspawn_run(const struct fake_service *service,
                               const struct fake_nspawn_how *how, int leader_fd,
                               const char *cgroup);

/* PID 1, in its process. */
_Noreturn void fake_nspawn_play_init(const struct strv *argv, bool is_stubborn);

/* The value of "NAME=" among `items`; NULL: not there. */
const char *fake_nspawn_value(const struct strv *items, const char *name);
