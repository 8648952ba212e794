/* A flow that waits: a list of steps, each run once, in order. A step either is done at once or
 * says FLOW_WAIT and later calls flow_continue or flow_fail from the loop. Owner: what it is a flow
 * of.
 *
 * Each step runs from the loop, never from inside flow_start or flow_continue, so a step may free
 * anything but the flow. What a step began and a later failure must undo is undone by the flow
 * "clear" (tasks/lifecycle/clear.c), whose steps take a task that got half way. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"

#define FLOW_WAIT 1

struct flow_step {
    const char *name; /* for log lines */
    /* 0: done. FLOW_WAIT. Negative errno: failed, with `fail` set. */
    int (*run)(void *subject, struct fail *fail);
};

struct flow;
/* `fail` is NULL when all steps were done. The flow may be freed in here. */
typedef void (*flow_done_fn)(const struct fail *fail, void *subject);

/* `steps` ends with an empty row. */
struct flow *flow_start(sd_event *event, const struct flow_step *steps, flow_done_fn done,
                        void *subject);
struct flow *flow_free(struct flow *flow);

/* The end of the wait of the step in which the flow stands. */
void flow_continue(struct flow *flow);
void flow_fail(struct flow *flow, const struct fail *fail);
const char *flow_step_name(const struct flow *flow);
