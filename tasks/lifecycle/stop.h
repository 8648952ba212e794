/* Ending a container: a signal, the kill timeout, SIGKILL. Owner: the task, from the time when a
 * stop is asked for to the end of the container. */
#pragma once

#include "tasks/lifecycle/task.h"

/* Only notes it: a task that is being recovered cannot be stopped yet. `signal`: 0 for the way that
 * suits the container. `timeout_usec` 0: it is killed at once. */
struct stop *stop_new(struct task *task, int signal, uint64_t timeout_usec);
struct stop *stop_free(struct stop *stop);

/* Sends the signal; from here on the timeout runs. */
void stop_begin(struct stop *stop);
/* Waits no longer. */
void stop_hurry(struct stop *stop);
/* SIGKILL was sent by us. */
bool stop_has_killed(const struct stop *stop);
