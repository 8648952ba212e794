/* What is answered to those who ask something of a task. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "tasks/network/task_network_address.h"
#include "tasks/spec/task_exit.h"

typedef void (*task_done_fn)(const struct fail *fail, void *data); /* fail is NULL on success */

struct task_started {
    const uint8_t *driver_state; /* what RecoverTask needs, to be kept by Nomad */
    size_t n_bytes;
    struct task_network_address network;
};

/* `started` is NULL on failure. */
typedef void (*task_started_fn)(const struct task_started *started, const struct fail *fail,
                                void *data);

struct task_waiter;
typedef void (*task_exited_fn)(const struct task_exit *exit, void *data);
/* Cancels; after `done` it is gone by itself. */
struct task_waiter *task_waiter_free(struct task_waiter *waiter);

/* Who waits for the end of one task. In memory of the caller. */
struct task_waiters {
    LIST_HEAD(, task_waiter) list;
    sd_event_source *turn;
    const struct task_exit *exit;
};

/* `exit` is what they will be told; borrowed. */
void task_waiters_init(struct task_waiters *waiters, sd_event *event, const struct task_exit *exit);
/* Nobody is told any more. */
void task_waiters_done(struct task_waiters *waiters);
struct task_waiter *task_waiters_add(struct task_waiters *waiters, task_exited_fn done, void *data);
/* Tells all: now, or soon from the loop. */
void task_waiters_answer(struct task_waiters *waiters);
void task_waiters_answer_later(struct task_waiters *waiters);

/* Who waits for one task to get somewhere: a stop, a destroy. */
struct task_request {
    STAILQ_ENTRY(task_request) entry;
    task_done_fn done;
    void *data;
};
STAILQ_HEAD(task_requests, task_request);

void task_requests_add(struct task_requests *requests, task_done_fn done, void *data);
/* Answers all that were there when it was called. */
void task_requests_answer(struct task_requests *requests, const struct fail *fail);

/* Who asked for a start, until it is told. `done` is NULL when nobody waits any more. */
struct task_asker {
    task_started_fn done;
    void *data;
    struct fail fail; /* why the start failed */
};
/* Tells the failure; fine to call when nobody waits. */
void task_asker_fail(struct task_asker *asker, const struct fail *fail);
