#include "tasks/lifecycle/freeze.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/log.h"

struct freeze {
    struct task *task;
    struct unit_op *op; /* to freeze or to thaw */
    struct task_requests requests;
};

static struct freeze *get(struct task *task)
{
    if (task->freeze == NULL) {
        task->freeze = ALLOC_NEW(struct freeze);
        task->freeze->task = task;
        STAILQ_INIT(&task->freeze->requests);
    }
    return task->freeze;
}

static void give_up(struct freeze *freeze, const char *why)
{
    CLEANUP_FAIL struct fail fail = {};

    freeze->op = unit_op_free(freeze->op);
    (void)fail_set(&fail, -ECANCELED, "%s", why);
    task_requests_answer(&freeze->requests, &fail);
}

static void on_done(const struct fail *fail, void *data)
{
    struct freeze *freeze = data;

    freeze->op = NULL;
    task_requests_answer(&freeze->requests, fail);
}

int freeze_ask(struct task *task, int signal, task_done_fn done, void *data, struct fail *reterr)
{
    struct freeze *freeze = get(task);

    if (freeze->op != NULL)
        return fail_set_recoverable(reterr, -EBUSY, "the task is being frozen or thawed already");
    task_requests_add(&freeze->requests, done, data);
    freeze->op = signal == SIGSTOP
                     ? unit_freeze(task->host->units, task->names.unit, on_done, freeze)
                     : unit_thaw(task->host->units, task->names.unit, on_done, freeze);
    return 0;
}

static void on_thawed(const struct fail *fail, void *data)
{
    struct freeze *freeze = data;

    freeze->op = NULL;
    if (fail != NULL)
        log_task_debug(freeze->task->spec.id, "cannot thaw: %s, ignoring", fail_text(fail));
}

void freeze_end(struct task *task)
{
    struct freeze *freeze = get(task);

    give_up(freeze, "the task is being stopped");
    freeze->op = unit_thaw(task->host->units, task->names.unit, on_thawed, freeze);
}

struct freeze *freeze_free(struct freeze *freeze, const char *why)
{
    if (freeze == NULL)
        return NULL;
    give_up(freeze, why);
    free(freeze);
    return NULL;
}
