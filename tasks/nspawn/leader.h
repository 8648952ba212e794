/* The leader of a container, PID 1 inside, as a pidfd: it stays that very process whatever becomes
 * of its number, and tells how it ended. It is a child of nspawn, never ours. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Set in the environment (by tests), the kernel is taken for one that can't tell how a process
 * ended. */
#define LEADER_NO_STATUS_ENV "NSPAWN_TEST_NO_EXIT_STATUS"

/* A pidfd. -ESRCH: the process has been reaped, or is another one: its parent is not `parent` or,
 * where that is not known (0), it is in no cgroup of `unit`. */
int leader_open(pid_t pid, pid_t parent, const char *unit);
/* -ESRCH: it has ended and been reaped. */
int leader_signal(int fd, int signal);
bool leader_has_ended(int fd);
/* As of waitpid(2). -EAGAIN: it lives, or has not been reaped; -EOPNOTSUPP: this kernel can't. */
int leader_status(int fd, int *ret_wait_status);
