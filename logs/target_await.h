/* Opening the descriptor of Nomad's FIFO that the holding unit keeps from start to end of a task,
 * so that the log collector sees its end of file when that unit is stopped and not when a plugin
 * dies. An op; owner: the logs of the task that starts. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"

/* Nomad makes the FIFO before StartTask; one that is not there by then is not likely to come. */
#define TARGET_AWAIT_USEC (5 * UINT64_C(1000000))

struct target_await;

/* `fd` >= 0: a write end (StandardOutputFileDescriptor= of the holding unit, and the other stream's
 * for StandardErrorFileDescriptor=); it belongs to the receiver, who closes it when systemd has
 * answered. fd < 0: negative errno, told by `fail`; -ETIMEDOUT: the FIFO did not appear. */
typedef void (*target_await_fn)(int fd, const struct fail *fail, void *data);

/* Waits only for the path to exist: a reader is not needed. `path` as in pump_args.target. Exactly
 * one of `opened` and target_await_free ends the op; `opened` is not called from inside. */
int target_await_start(sd_event *event, const char *path, uint64_t wait_usec,
                       target_await_fn opened, void *data, struct target_await **ret,
                       struct fail *reterr);
struct target_await *target_await_free(struct target_await *op);
