/* Work that blocks, done by a process of its own while the loop goes on: a fork of this one, which
 * is possible because there are no threads. */
#pragma once

#include <systemd/sd-event.h>

struct worker;

/* Runs in the process, which ends with it. Answers 0 or negative errno. */
typedef int (*worker_fn)(const void *args);
/* 0 or negative errno of the work; -ETIMEDOUT or -EINTR: it was ended by a signal. */
typedef void (*worker_done_fn)(int error, void *data);

/* It ends with us, and by itself after so many seconds. `args` is used before this returns, and in
 * the process as it was; of what we have open it has stdin, stdout and stderr only. Exactly one of
 * `done` and worker_free ends it. NULL: there is no process for it. */
struct worker *worker_new(sd_event *event, worker_fn work, const void *args, unsigned seconds,
                          worker_done_fn done, void *data);
/* Kills it. */
struct worker *worker_free(struct worker *worker);
