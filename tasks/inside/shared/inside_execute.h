/* Environment and execution of a command in a container, the same for a task's own and for those of
 * `nomad alloc exec`. */
#pragma once

#include "reactor/strv.h"
#include "tasks/inside/shared/inside_user.h"

/* The environment of a command: what nspawn gave to the container's PID 1 (`base`, NULL-terminated:
 * container, container_uuid, PATH, ...) without what was meant for that process alone
 * (NOTIFY_SOCKET, LISTEN_*); HOME, USER, LOGNAME, SHELL of the user; then the job's, which win.
 * `ret` must be empty; it ends with NULL. */
void inside_environment(char *const *base, const struct inside_user *user,
                        const struct strv *environment, struct strv *ret);

/* Executes argv[0], looked up in the environment's PATH when it has no slash; a script without "#!"
 * is one of /bin/sh. Answers only when that fails, with a negative errno. */
int inside_execute(const struct strv *argv, const struct strv *environment);

/* What a shell exits with for a command that it can't execute: 127 when it is not found, else
 * 126. */
int inside_exit_code(int error);
