#include "reactor/flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct flow {
    const struct flow_step *steps;
    size_t at;
    bool waits;
    sd_event_source *turn;
    struct fail fail;
    flow_done_fn done;
    void *subject;
};

static void arm(struct flow *flow)
{
    int r = sd_event_source_set_enabled(flow->turn, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

static void end(struct flow *flow)
{
    CLEANUP_FAIL struct fail fail = {};

    fail_move(&fail, &flow->fail);
    flow->done(fail.error < 0 ? &fail : NULL, flow->subject);
}

static void run_step(struct flow *flow)
{
    /* Set before the step runs: what it waits for may not come from inside it, but it may well
     * have been freed when it returns an error. */
    flow->waits = true;
    int r = flow->steps[flow->at].run(flow->subject, &flow->fail);
    if (r == FLOW_WAIT)
        return;
    flow->waits = false;
    if (r < 0)
        (void)fail_set(&flow->fail, r, "%s failed", flow->steps[flow->at].name);
    else
        flow->at++;
    arm(flow);
}

static int on_turn(sd_event_source *source, void *data)
{
    struct flow *flow = data;

    (void)source;
    if (flow->fail.error < 0 || flow->steps[flow->at].run == NULL)
        end(flow);
    else if (!flow->waits)
        run_step(flow);
    return 0;
}

struct flow *flow_start(sd_event *event, const struct flow_step *steps, flow_done_fn done,
                        void *subject)
{
    struct flow *flow = ALLOC_NEW(struct flow);

    flow->steps = steps;
    flow->done = done;
    flow->subject = subject;
    int r = sd_event_add_defer(event, &flow->turn, on_turn, flow);
    assert(r >= 0);
    (void)sd_event_source_set_description(flow->turn, "flow");
    return flow;
}

struct flow *flow_free(struct flow *flow)
{
    if (flow == NULL)
        return NULL;
    flow->turn = sd_event_source_disable_unref(flow->turn);
    fail_done(&flow->fail);
    free(flow);
    return NULL;
}

void flow_continue(struct flow *flow)
{
    assert(flow->waits);
    flow->waits = false;
    flow->at++;
    arm(flow);
}

void flow_fail(struct flow *flow, const struct fail *fail)
{
    assert(flow->waits);
    assert(fail->error < 0);
    flow->waits = false;
    fail_copy(&flow->fail, fail);
    arm(flow);
}

const char *flow_step_name(const struct flow *flow)
{
    const char *name = flow->steps[flow->at].name;

    return name != NULL ? name : "end";
}
