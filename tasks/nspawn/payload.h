/* The processes of a container as the host sees them: nspawn, its leader (PID 1 inside) and, when
 * the leader is an init that nspawn or we put there, its one child, which is the task's command. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "reactor/fail.h"

/* -EAGAIN: there is no child now: the init has not forked yet, or the command has ended. */
int payload_find_child(pid_t leader, pid_t *ret);

/* Sends a signal through a pidfd, after which the process is checked to be a child of `parent`
 * still, so that a pid that was used again is never hit. -ESRCH: it has ended. */
int payload_kill_child(pid_t parent, pid_t child, int signal);

/* A short file of /proc as text, cut to `n`. -ESRCH: the process has ended. */
int payload_read_proc(const char *path, char *buffer, size_t n);
/* -ESRCH: `pid` has ended, or is no child of `parent`. */
int payload_check_parent(pid_t pid, pid_t parent);
