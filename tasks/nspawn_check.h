/* What a job may say: values, and options that exclude each other. Pure; the border behind which
 * nspawn_argv takes a config as it is. */
#pragma once

#include "reactor/fail.h"
#include "tasks/nspawn_options.h"

/* Checks everything, then puts the defaults in. `task_user` is Nomad's own `user` of the task (NULL
 * or "": none), which the option `user` goes before; config->user is the one that counts afterwards.
 * -EINVAL: a value or combination that can't be; -EOPNOTSUPP: an option that is not built yet. The
 * message names option, value and remedy. */
int nspawn_check(struct nspawn_config *config, const char *task_user, struct fail *reterr);

/* More of them than any job has, and few enough for a linear search and for the size of argv. */
#define NSPAWN_CHECK_BINDS_MAX 256
/* An argument of exec may have 128 KiB, all of them together a quarter of the stack's limit (8 MiB). */
#define NSPAWN_CHECK_COMMAND_BYTES_MAX ((size_t)1 << 20)
#define NSPAWN_CHECK_ARGUMENT_BYTES_MAX ((size_t)128 * 1024 - 1)
