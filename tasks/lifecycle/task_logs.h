/* A task's two output streams from start to end: our FIFOs in its runtime directory, the pumps, and
 * the unit that holds Nomad's FIFOs open so that only we decide when the collector sees their end.
 * Owner: the task. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "tasks/systemd/unit.h"

struct task_logs_args {
    const char *task;          /* id, for log lines */
    int dir_fd;                /* the runtime directory; borrowed */
    const char *stdout_path;   /* Nomad's; NULL and "": nowhere */
    const char *stderr_path;
    const char *holder, *slice; /* names of the holding unit and its slice */
    /* The FIFOs are there, the unit holds; the collector may need longer to return. */
    bool recovered;
};

struct task_logs;

/* Makes the FIFOs unless recovered, and starts to pump. */
int task_logs_new(struct units *units, const struct task_logs_args *args, struct task_logs **ret,
                  struct fail *reterr);
struct task_logs *task_logs_free(struct task_logs *logs);

typedef void (*task_logs_done_fn)(const struct fail *fail, void *data); /* NULL: success */

/* Starts the holding unit; `done` is called once, from the loop, unless an error is returned. */
int task_logs_hold(struct task_logs *logs, task_logs_done_fn done, void *data,
                   struct fail *reterr);
/* The ends of our FIFOs for the task's unit; the caller closes them. */
int task_logs_open_payload(struct task_logs *logs, int *ret_stdout, int *ret_stderr,
                           struct fail *reterr);
/* What the task has written goes to the collector (or is given up after a while without a reader,
 * which is logged), the holding unit is stopped, the collector has its end of file. A hold that is
 * under way is given up. */
void task_logs_finish(struct task_logs *logs, task_logs_done_fn done, void *data);

/* The last thing that was said, on stderr first, without nspawn's words that only say that it has
 * said why; heap, NULL: nothing. See pump_tail_line. */
char *task_logs_last_line(struct task_logs *logs);
/* The task runs: after this time its last line is no longer remembered. */
void task_logs_settle(struct task_logs *logs, uint64_t usec);
