#include "tests/support/event.h"

#include <time.h>

/* A condition may depend on other processes, of which the loop knows nothing. */
#define LOOK_AGAIN_USEC 10000

/* A source that is always ready must not keep event_run_pending for ever. */
#define PENDING_MAX 100000

static uint64_t now_usec(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

bool event_run_until(sd_event *event, bool (*condition)(void *data), void *data)
{
    uint64_t deadline = now_usec() + EVENT_DEADLINE_USEC;

    while (!condition(data)) {
        if (now_usec() >= deadline || sd_event_run(event, LOOK_AGAIN_USEC) < 0)
            return false;
    }
    return true;
}

uint64_t event_usec_until(sd_event *event, bool (*condition)(void *data), void *data)
{
    uint64_t start = now_usec(), now = start;

    while (!condition(data)) {
        if (now - start >= EVENT_DEADLINE_USEC || sd_event_run(event, EVENT_DEADLINE_USEC) < 0)
            return UINT64_MAX;
        now = now_usec();
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
    uint64_t end = now_usec() + usec, now;
    unsigned n_events = 0;

    while ((now = now_usec()) < end)
        if (sd_event_run(event, end - now) > 0)
            n_events++;
    return n_events;
}
