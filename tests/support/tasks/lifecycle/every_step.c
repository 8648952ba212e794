#include "tests/support/tasks/lifecycle/every_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

/* A flow that takes more never ends. */
#define EVENTS_MAX 2000

static unsigned at; /* 0: no run is under way */

int every_step_teardown(void **state)
{
    if (at > 0)
        print_error("the flow was disturbed after event %u\n", at);
    at = 0;
    return fd_leak_teardown(state);
}

/* Answers whether it is still not answered after n events. */
static bool run(struct driver_fixture *f, const struct asked *asked, unsigned n)
{
    for (unsigned i = 0; i < n && asked->n_answers == 0; i++) {
        int r = sd_event_run(f->event, EVENT_DEADLINE_USEC);
        assert_true(r > 0);
    }
    return asked->n_answers == 0;
}

static bool are_all_answered(void *data)
{
    const struct driver_fixture *f = data;

    for (size_t i = 0; i < f->n_asked; i++)
        if (f->asked[i]->n_answers == 0 && !f->asked[i]->is_given_up)
            return false;
    return true;
}

static void finish(struct driver_fixture *f, const struct asked *asked)
{
    if (!asked->is_given_up)
        driver_fixture_await(f, asked);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    if (!event_run_until(f->event, are_all_answered, f))
        for (size_t i = 0; i < f->n_asked; i++)
            if (f->asked[i]->n_answers == 0)
                fail_msg("%s was not answered", f->asked[i]->what);
    event_run_pending(f->event);
    driver_fixture_free(f);
}

static bool disturb_at(const struct every_step *flow, unsigned n)
{
    struct driver_fixture *f = driver_fixture_new();

    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true });
    event_run_pending(f->event);
    struct asked *asked = flow->begin(f);
    bool is_under_way = run(f, asked, n);
    if (is_under_way)
        flow->disturb(f);
    finish(f, asked);
    return is_under_way;
}

unsigned every_step(const struct every_step *flow)
{
    const char *first = getenv("EVERY_STEP_FROM"); /* for people */

    at = first != NULL ? (unsigned)atoi(first) : 1;
    while (at < EVENTS_MAX && disturb_at(flow, at))
        at++;
    unsigned n = at - 1;
    assert_true(at < EVENTS_MAX);
    at = 0;
    return n;
}
