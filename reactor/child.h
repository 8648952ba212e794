/* A process that is forked from this one, which is possible because there are no threads, and
 * awaited from the loop: what a worker and a program are made of. */
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct child;

/* Runs in the process, with all that we have open and no signal blocked; answers its exit
 * status. */
typedef int (*child_fn)(const void *args);
/* As of waitid(2): CLD_EXITED and a status, or CLD_KILLED or CLD_DUMPED and a signal. Code 0: it
 * has been awaited by somebody else. */
typedef void (*child_done_fn)(int code, int status, void *data);

/* It ends with us. `args` is used before this returns, and in the process as it was; `description`
 * is that of the event source. Exactly one of `done` and child_free ends it. NULL: there is no
 * process for it. */
struct child *child_new(sd_event *event, const char *description, child_fn run, const void *args,
                        child_done_fn done, void *data);
/* SIGKILL; `done` tells of its end. */
void child_kill(struct child *child);
/* Kills it and awaits its end. */
struct child *child_free(struct child *child);
