#include "tasks/lifecycle/task_events.h"

#include <assert.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/clock.h"

/* An event that waits to be told, in a singly linked list, oldest first. */
struct waiting {
    struct waiting *next;
    struct task_event event; /* its strings are owned */
    struct pairs annotations;
};

struct task_events {
    struct waiting *first, **last;
    size_t n_waiting;
    struct event_watch *watches; /* newest first */
    sd_event_source *deferred;
};

struct event_watch {
    struct task_events *events; /* NULL: they are gone */
    struct event_watch *next, **previous;
    bool is_told; /* already, of the event that is being told */
    task_event_fn told;
    void *data;
};

static struct waiting *copy_event(const struct task_event *event)
{
    struct waiting *copy = ALLOC_NEW(struct waiting);
    copy->event = (struct task_event){
        .task_id = alloc_strdup(event->task_id),
        .alloc_id = alloc_strdup(event->alloc_id),
        .task_name = alloc_strdup(event->task_name),
        .timestamp_usec = event->timestamp_usec,
        .message = alloc_strdup(event->message),
        .annotations = &copy->annotations,
    };
    if (event->annotations)
        pairs_copy(&copy->annotations, event->annotations);
    return copy;
}

static void free_string(const char *s)
{
    free((char *)(uintptr_t)s);
}

static void waiting_free(struct waiting *waiting)
{
    free_string(waiting->event.task_id);
    free_string(waiting->event.alloc_id);
    free_string(waiting->event.task_name);
    free_string(waiting->event.message);
    pairs_done(&waiting->annotations);
    free(waiting);
}

static struct waiting *take_first(struct task_events *events)
{
    struct waiting *first = events->first;
    events->first = first->next;
    if (!events->first)
        events->last = &events->first;
    events->n_waiting--;
    return first;
}

static struct event_watch *find_untold(struct task_events *events)
{
    for (struct event_watch *watch = events->watches; watch; watch = watch->next)
        if (!watch->is_told)
            return watch;
    return NULL;
}

/* Any watch may go, and new ones come, while one of them is told: so look again after each. One
 * that came meanwhile is told too, which is what it came for. */
static void tell(struct task_events *events, const struct task_event *event)
{
    for (struct event_watch *watch = events->watches; watch; watch = watch->next)
        watch->is_told = false;
    for (struct event_watch *watch; (watch = find_untold(events));) {
        watch->is_told = true;
        watch->told(event, watch->data);
    }
}

static int on_deferred(sd_event_source *source, void *data)
{
    struct task_events *events = data;
    while (events->first && events->watches) {
        struct waiting *first = take_first(events);
        tell(events, &first->event);
        waiting_free(first);
    }
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    return 0;
}

struct task_events *task_events_new(sd_event *event)
{
    struct task_events *events = ALLOC_NEW(struct task_events);
    events->last = &events->first;
    int r = sd_event_add_defer(event, &events->deferred, on_deferred, events);
    assert(r >= 0); /* fails without memory and after the loop has ended only */
    (void)sd_event_source_set_enabled(events->deferred, SD_EVENT_OFF);
    (void)sd_event_source_set_description(events->deferred, "events");
    return events;
}

struct task_events *task_events_free(struct task_events *events)
{
    if (!events)
        return NULL;
    sd_event_source_disable_unref(events->deferred);
    while (events->first)
        waiting_free(take_first(events));
    for (struct event_watch *watch = events->watches; watch; watch = watch->next)
        watch->events = NULL;
    free(events);
    return NULL;
}

static void wake(struct task_events *events)
{
    if (events->first && events->watches)
        (void)sd_event_source_set_enabled(events->deferred, SD_EVENT_ON);
}

void task_events_emit(struct task_events *events, const struct task_event *event)
{
    struct waiting *copy = copy_event(event);
    if (copy->event.timestamp_usec == 0)
        copy->event.timestamp_usec = clock_now_usec(CLOCK_REALTIME);
    *events->last = copy;
    events->last = &copy->next;
    events->n_waiting++;
    while (events->n_waiting > TASK_EVENTS_KEPT_MAX && !events->watches)
        waiting_free(take_first(events));
    wake(events);
}

struct event_watch *task_events_watch(struct task_events *events, task_event_fn event, void *data)
{
    struct event_watch *watch = ALLOC_NEW(struct event_watch);
    *watch = (struct event_watch){
        .events = events,
        .next = events->watches,
        .previous = &events->watches,
        .told = event,
        .data = data,
    };
    if (watch->next)
        watch->next->previous = &watch->next;
    events->watches = watch;
    wake(events);
    return watch;
}

struct event_watch *event_watch_free(struct event_watch *watch)
{
    if (!watch)
        return NULL;
    if (watch->events) {
        *watch->previous = watch->next;
        if (watch->next)
            watch->next->previous = watch->previous;
    }
    free(watch);
    return NULL;
}
