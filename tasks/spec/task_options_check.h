/* What a job may say: values, and options that exclude each other. Pure; the border behind which
 * nspawn_argv takes a config as it is. */
#pragma once

#include "reactor/fail.h"
#include "tasks/spec/task_options.h"

/* Checks everything, then puts the defaults in. `task_user` is Nomad's own `user` of the task (NULL
 * or "": none); the option `user` goes before it, and config->user is what counts afterwards.
 * -EINVAL: a value or combination that can't be; -EOPNOTSUPP: an option that is not built yet. The
 * message names option, value and remedy. */
int task_options_check(struct task_options *config, const char *task_user, struct fail *reterr);

/* More of them than any job has, and few enough for a linear search and for the size of argv. */
#define TASK_OPTIONS_CHECK_BINDS_MAX 256
/* execve(2) takes 128 KiB an argument, with its final NUL. */
#define TASK_OPTIONS_CHECK_ARGUMENT_BYTES_MAX ((size_t)128 * 1024 - 1)
/* systemd writes the command line as one line of the unit's file, with up to four bytes for one,
 * and reads lines of up to 1 MiB; the rest is for the other options. */
#define TASK_OPTIONS_CHECK_COMMAND_BYTES_MAX ((size_t)160 * 1024)
/* PATH_MAX, with its final NUL. */
#define TASK_OPTIONS_CHECK_PATH_BYTES_MAX 4095
