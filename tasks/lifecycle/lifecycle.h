/* The door: all that is asked of a task, or heard of it, comes in here; a table says what it means
 * in the state in which the task is. Only this file calls the flows. */
#pragma once

#include "tasks/lifecycle/task.h"

/* Takes the content of `spec`, as task_new. */
struct task *lifecycle_new(const struct task_host *host, struct task_spec *spec,
                           enum task_state state);

/* Begins a start of a task in state STARTING. An error: nothing was begun, `done` is not called,
 * and the task is to be freed. */
int lifecycle_start(struct task *task, task_started_fn done, void *data, struct fail *reterr);
/* The same of one in state RECOVERING. */
int lifecycle_recover(struct task *task, const uint8_t *driver_state, size_t n_bytes,
                      task_done_fn done, void *data, struct fail *reterr);
/* One in state REMOVING from its birth: nobody knows it any more. */
void lifecycle_remove_lost(struct task *task);

/* To be lent to the tasks (task_host.raise). */
void lifecycle_handle(struct task *task, enum lifecycle_event event,
                      const struct lifecycle_args *args);

/* SIGSTOP or SIGCONT, of the container as a whole. An error: `done` is not called. */
int lifecycle_freeze(struct task *task, int signal, task_done_fn done, void *data,
                     struct fail *reterr);
/* -ESRCH: the task does not run. */
int lifecycle_exec(struct task *task, const struct exec_args *args,
                   const struct exec_events *events, void *data, struct exec **ret,
                   struct fail *reterr);
struct task_waiter *lifecycle_wait(struct task *task, task_exited_fn done, void *data);

/* The plugin ends: whoever waits is told so. The container runs on. */
void lifecycle_abandon(struct task *task);
/* Frees the task with all that goes on; nobody is told. */
struct task *lifecycle_free(struct task *task);
