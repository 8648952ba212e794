/* Moves the bytes of one stream of a task (standard output or error) from our FIFO, into which the
 * task writes, to the FIFO of Nomad's log collector. Owner: the task, one pump a stream.
 *
 *     task ──> our FIFO ──pump──> Nomad's FIFO ──> log collector
 *     fd A, held by PID 1          fd B, held by PID 1
 *
 * Start:   fifo_make, fifo_open_payload (fd A: to the task's unit), target_await_start (fd B: to
 *          the holding unit), pump_new; any order, but the unit holds B before anybody counts on
 *          the task, and our own copies of A and B are closed once systemd has answered.
 * End:     pump_finish; in its `done` stop the holding unit (now the collector sees the end of file
 *          and has everything), then answer WaitTask, then pump_free.
 * Recover: pump_new; the FIFOs are found by name again and nothing is lost or repeated.
 *
 * Bytes move by splice(2) from pipe to pipe and are never in our memory, so SIGKILL can't lose or
 * repeat one. Descriptors: two a pump, and two more while it remembers the tail. No wake-up while
 * nothing is written. While the collector does not read, nothing is taken from the task's FIFO
 * (there, small writes merge; a spliced piece costs a whole slot), and when that is full the task's
 * writes block. While there is no collector, all waits until one opens the FIFO again.
 * The process must ignore SIGPIPE: splice raises it, too. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "logs/tail.h"
#include "reactor/fail.h"

/* How long the end of a task waits without a byte moving, before what nobody reads is given up: a
 * collector that died is not started again by Nomad before the task has ended, so waiting for it
 * for ever would keep the task for ever. An agent's restart brings the collector back within
 * seconds, but only after it recovered the task: RecoverTask should allow more. */
#define PUMP_GIVE_UP_USEC           (10 * UINT64_C(1000000))
#define PUMP_GIVE_UP_RECOVERED_USEC (60 * UINT64_C(1000000))

struct pump;

struct pump_args {
    const char *task;   /* its id, for log lines; copied */
    const char *stream; /* "stdout" or "stderr", for log lines; a literal */
    /* AT_FDCWD, or what `source` is relative to; borrowed until pump_new returned */
    int source_dir_fd;
    const char *source; /* our FIFO, made by fifo_make */
    /* Nomad's FIFO: absolute, copied. It may be missing yet or lack a reader: both are waited for.
     * /dev/null and regular files (appended to) are taken, too; NULL and "" are /dev/null. */
    const char *target;
    bool remember_tail; /* see pump_tail_line */
    /* The target was removed and made again, and the collector reads the new one; may be NULL. The
     * pump has moved over. A holding unit holds the old one and must be made again with a
     * descriptor of the new (target_await_start), or the plugin's death would end the collector's
     * reading. Called from the loop; must not free the pump. */
    void (*on_replaced)(void *data);
    void *data; /* of on_replaced */
};

/* -ENOENT: no source. -EINVAL, -ELOOP: source or target are of another kind. Starts to move at
 * once. */
int pump_new(sd_event *event, const struct pump_args *args, struct pump **ret, struct fail *reterr);
/* What has not been moved stays in our FIFO. A finish that waits is cancelled: `done` is not
 * called. Takes NULL; returns NULL. */
struct pump *pump_free(struct pump *pump);

/* 0: all that the task wrote is with the collector. -ETIMEDOUT: given up, a warning that tells how
 * much was logged. The pump has closed its end of Nomad's FIFO; it may be freed in here. */
typedef void (*pump_finished_fn)(struct pump *pump, int r, void *data);

/* To be called once, after the task's last process has ended: moves what is left and calls `done`
 * from the loop, never from inside. `give_up_usec` counts anew after each byte moved; UINT64_MAX:
 * for ever; 0: at once what can't be moved now. */
void pump_finish(struct pump *pump, uint64_t give_up_usec, pump_finished_fn done, void *data);

/* With remember_tail: the last line that is not empty, to tell a failure in a sentence; UTF-8
 * without control characters or terminal sequences, at most TAIL_LINE_MAX bytes, heap. Includes
 * what the task wrote and nobody has taken yet, so there is no need to finish first. NULL: nothing
 * written, or more than TAIL_OUTPUT_MAX (tail.h), after which it is no longer followed. */
char *pump_tail_line(struct pump *pump, tail_skip_fn skip);
/* The start went well: give memory and descriptors of the tail back. */
void pump_forget_tail(struct pump *pump);
