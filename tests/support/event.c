#include "tests/support/event.h"

#include "reactor/clock.h"

/* A condition may depend on other processes, of which the loop knows nothing. */
#define LOOK_AGAIN_USEC 10000

/* A source that is always ready must not keep event_run_pending for ever. */
#define PENDING_MAX 100000

bool event_run_until(sd_event *event, bool (*condition)(void *data), void *data)
{
    uint64_t deadline = clock_now_usec(CLOCK_MONOTONIC) + EVENT_DEADLINE_USEC;

    while (!condition(data)) {
        if (clock_now_usec(CLOCK_MONOTONIC) >= deadline || sd_event_run(event, LOOK_AGAIN_USEC) < 0)
            return false;
    }
    return true;
}

uint64_t event_usec_until(sd_event *event, bool (*condition)(void *data), void *data)
{
    uint64_t start = clock_now_usec(CLOCK_MONOTONIC), now = start;

    while (!condition(data)) {
        if (now - start >= EVENT_DEADLINE_USEC || sd_event_run(event, EVENT_DEADLINE_USEC) < 0)
            return UINT64_MAX;
        now = clock_now_usec(CLOCK_MONOTONIC);
    }
    return now - start;
}

static bool is_set(void *data)
{
    const bool *const *flag = data;

    return **flag;
}

bool event_run_until_set(sd_event *event, const bool *flag)
{
    return event_run_until(event, is_set, &flag);
}

void event_run_pending(sd_event *event)
{
    for (unsigned i = 0; i < PENDING_MAX && sd_event_run(event, 0) > 0; i++)
        ;
}

unsigned event_count_during(sd_event *event, uint64_t usec)
{
    uint64_t end = clock_now_usec(CLOCK_MONOTONIC) + usec, now;
    unsigned n_events = 0;

    while ((now = clock_now_usec(CLOCK_MONOTONIC)) < end)
        if (sd_event_run(event, end - now) > 0)
            n_events++;
    return n_events;
}
