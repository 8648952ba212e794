/* Commands that are executed in a running container: `nomad alloc exec` and script checks.
 * Owner: whoever started it; it ends with its container at the latest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/exec/exec_scope.h"
#include "tasks/spec/task_exit.h"

struct exec;

/* Those of one container, and what is left of their cgroups. In memory of the caller. */
struct execs {
    LIST_HEAD(, exec) running;
    struct exec_scopes scopes;
};

void execs_init(struct execs *execs);
/* Ends all with this failure. */
void execs_end(struct execs *execs, const char *why);
/* To be called when all have been ended: no longer waits for cgroups to become empty. */
void execs_done(struct execs *execs);

/* Where a command is to run; all is borrowed, and `event` and `execs` for as long as it runs. */
struct exec_place {
    sd_event *event;
    pid_t leader;            /* the container's PID 1 */
    int leader_fd;           /* its pidfd; negative: not known */
    int dir_fd;              /* the task's runtime directory */
    const char *unit_cgroup; /* directory of the unit; NULL: this host has no cgroup v2 */
    struct execs *execs;
};

struct exec_args {
    const struct strv *argv;
    bool tty;              /* a terminal of the container for all three */
    uint64_t timeout_usec; /* then it is killed; 0: none */
};

enum exec_stream { EXEC_STDOUT, EXEC_STDERR, EXEC_STREAM_MAX };

/* All called from the loop. `output`: n is 0, once, at the end of that stream; with a tty all comes
 * on EXEC_STDOUT. `drained`: what was written to standard input has been taken. `ended` is the
 * last, after all output, and the exec is gone by itself: `fail` is NULL when the command was
 * executed, or could not be found or executed (which a shell would say with 127 and 126). The exec
 * is not to be freed in `output` and `drained`. */
struct exec_events {
    void (*output)(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data);
    void (*drained)(void *data);
    void (*ended)(const struct task_exit *exit, const struct fail *fail, void *data);
};

/* Runs the command as the task's user, with its environment and in its directory. -ESRCH: the
 * container's PID 1 is not known. -EINVAL: no command. */
int exec_start(const struct exec_place *place, const struct exec_args *args,
               const struct exec_events *events, void *data, struct exec **ret,
               struct fail *reterr);
/* Kills what the command started and has not ended. */
struct exec *exec_free(struct exec *exec);
/* Answers how many bytes are queued now: the caller holds back what is more than it wants. */
size_t exec_write_stdin(struct exec *exec, const uint8_t *bytes, size_t n);
/* After what is queued. On a terminal: the end-of-file character. */
void exec_close_stdin(struct exec *exec);
void exec_resize(struct exec *exec, unsigned rows, unsigned columns);
/* Reads no output until it is to go on. */
void exec_pause_output(struct exec *exec, bool pause);
