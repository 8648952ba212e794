#include "tasks/answers.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "reactor/alloc.h"

struct answer {
    STAILQ_ENTRY(answer) entry;
    task_done_fn done; /* one of these two */
    task_started_fn started;
    void *data;
    struct fail fail;
};

struct answers {
    STAILQ_HEAD(, answer) queue;
    sd_event_source *turn;
};

static void give(struct answer *answer)
{
    const struct fail *fail = answer->fail.error < 0 ? &answer->fail : NULL;

    if (answer->done != NULL)
        answer->done(fail, answer->data);
    else
        answer->started(NULL, fail, answer->data);
    fail_done(&answer->fail);
    free(answer);
}

static void give_all(struct answers *answers)
{
    while (!STAILQ_EMPTY(&answers->queue)) {
        struct answer *answer = STAILQ_FIRST(&answers->queue);

        STAILQ_REMOVE_HEAD(&answers->queue, entry);
        give(answer);
    }
}

static int on_turn(sd_event_source *source, void *data)
{
    (void)source;
    give_all(data);
    return 0;
}

static struct answer *add(struct answers *answers, void *data, struct fail *fail)
{
    struct answer *answer = ALLOC_NEW(struct answer);

    answer->data = data;
    if (fail != NULL)
        fail_move(&answer->fail, fail);
    STAILQ_INSERT_TAIL(&answers->queue, answer, entry);
    int r = sd_event_source_set_enabled(answers->turn, SD_EVENT_ONESHOT);
    assert(r >= 0);
    return answer;
}

void answers_add(struct answers *answers, task_done_fn done, void *data, struct fail *fail)
{
    add(answers, data, fail)->done = done;
}

void answers_add_unstarted(struct answers *answers, task_started_fn done, void *data,
                           struct fail *fail)
{
    assert(fail->error < 0);
    add(answers, data, fail)->started = done;
}

struct answers *answers_new(sd_event *event)
{
    struct answers *answers = ALLOC_NEW(struct answers);

    STAILQ_INIT(&answers->queue);
    int r = sd_event_add_defer(event, &answers->turn, on_turn, answers);
    assert(r >= 0);
    r = sd_event_source_set_enabled(answers->turn, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(answers->turn, "driver-answers");
    return answers;
}

struct answers *answers_free(struct answers *answers)
{
    if (answers == NULL)
        return NULL;
    give_all(answers);
    answers->turn = sd_event_source_disable_unref(answers->turn);
    free(answers);
    return NULL;
}
