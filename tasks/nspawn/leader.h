/* The processes of a container as the host sees them: nspawn, its child, the leader, which is PID 1
 * inside, and, when the leader is an init that nspawn or we put there, its one child, the task's
 * command. The leader is held as a pidfd: it stays that very process whatever becomes of its
 * number, and tells how it ended. None of them is a child of ours. */
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

/* The leader's child. -EAGAIN: there is none now: the init has not forked yet, or the command has
 * ended; -ESRCH: the leader has ended. */
int leader_find_child(pid_t leader, pid_t *ret);
/* Sends a signal through a pidfd, after which the process is checked to be a child of `parent`
 * still, so that a pid that was used again is never hit. -ESRCH: it has ended. */
int leader_kill_child(pid_t parent, pid_t child, int signal);
