/* Opening the descriptor of Nomad's FIFO that the holding unit keeps from start to end of a task,
 * so that the log collector sees its end of file when that unit is stopped and not when a plugin
 * dies. An op; owner: the start transfer. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"

/* Nomad makes the FIFO before StartTask; one that is not there by then is not likely to come. */
#define HOLDER_WAIT_USEC (5 * UINT64_C(1000000))

struct holder;

/* `fd` >= 0: a write end (StandardOutputFileDescriptor= of the holding unit, and the other stream's
 * for StandardErrorFileDescriptor=); it belongs to the receiver, who closes it when systemd has
 * answered. fd < 0: negative errno, told by `fail`; -ETIMEDOUT: the FIFO did not appear. */
typedef void (*holder_opened_fn)(int fd, const struct fail *fail, void *data);

/* Waits only for the path to exist: a reader is not needed. `path` as in pump_args.target. Exactly
 * one of `opened` and holder_free ends the op; `opened` is not called from inside. */
int holder_open(sd_event *event, const char *path, uint64_t wait_usec, holder_opened_fn opened,
                void *data, struct holder **ret, struct fail *reterr);
struct holder *holder_free(struct holder *holder);
