#include "tasks/lifecycle/task_answers.h"

#include <assert.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* --- waiting for the end --------------------------------------------------------------------- */

struct task_waiter {
    LIST_ENTRY(task_waiter) entry;
    task_exited_fn done;
    void *data;
};

/* `done` may free any other waiter, so the list is begun anew each time. */
void task_waiters_answer(struct task_waiters *waiters)
{
    struct task_waiter *waiter;

    while ((waiter = LIST_FIRST(&waiters->list)) != NULL) {
        task_exited_fn done = waiter->done;
        void *data = waiter->data;

        task_waiter_free(waiter);
        done(waiters->exit, data);
    }
}

static int on_turn(sd_event_source *source, void *data)
{
    (void)source;
    task_waiters_answer(data);
    return 0;
}

void task_waiters_answer_later(struct task_waiters *waiters)
{
    int r = sd_event_source_set_enabled(waiters->turn, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

struct task_waiter *task_waiters_add(struct task_waiters *waiters, task_exited_fn done, void *data)
{
    struct task_waiter *waiter = ALLOC_NEW(struct task_waiter);

    waiter->done = done;
    waiter->data = data;
    LIST_INSERT_HEAD(&waiters->list, waiter, entry);
    return waiter;
}

struct task_waiter *task_waiter_free(struct task_waiter *waiter)
{
    if (waiter == NULL)
        return NULL;
    LIST_REMOVE(waiter, entry);
    free(waiter);
    return NULL;
}

void task_waiters_init(struct task_waiters *waiters, sd_event *event, const struct task_exit *exit)
{
    LIST_INIT(&waiters->list);
    waiters->exit = exit;
    int r = sd_event_add_defer(event, &waiters->turn, on_turn, waiters);
    assert(r >= 0);
    r = sd_event_source_set_enabled(waiters->turn, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(waiters->turn, "task-waiters");
}

void task_waiters_done(struct task_waiters *waiters)
{
    waiters->turn = sd_event_source_disable_unref(waiters->turn);
    while (!LIST_EMPTY(&waiters->list))
        task_waiter_free(LIST_FIRST(&waiters->list));
}

/* --- requests -------------------------------------------------------------------------------- */

void task_requests_add(struct task_requests *requests, task_done_fn done, void *data)
{
    struct task_request *request = ALLOC_NEW(struct task_request);

    request->done = done;
    request->data = data;
    STAILQ_INSERT_TAIL(requests, request, entry);
}

void task_requests_answer(struct task_requests *requests, const struct fail *fail)
{
    struct task_requests taken = STAILQ_HEAD_INITIALIZER(taken);

    STAILQ_CONCAT(&taken, requests);
    while (!STAILQ_EMPTY(&taken)) {
        struct task_request *request = STAILQ_FIRST(&taken);
        task_done_fn done = request->done;
        void *data = request->data;

        STAILQ_REMOVE_HEAD(&taken, entry);
        free(request);
        done(fail, data);
    }
}

void task_asker_fail(struct task_asker *asker, const struct fail *fail)
{
    task_started_fn done = TAKE_PTR(asker->done);

    if (done != NULL)
        done(NULL, fail, asker->data);
}
