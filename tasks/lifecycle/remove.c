#include "tasks/lifecycle/remove.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/flow.h"
#include "reactor/log.h"
#include "tasks/lifecycle/clear.h"
#include "tasks/nspawn/settings_file.h"

struct removal {
    struct task *task;
    struct runtime_dir_op *dir_op;
    struct clear *clear;
    struct flow *flow; /* when there is nothing to clear: so that the end comes from the loop */
    struct task_asker asker;
};

static void on_cleared(void *data)
{
    struct removal *removal = data;
    struct task *task = removal->task;

    removal->clear = NULL;
    settings_file_remove(task->names.machine);
    runtime_dir_remove(task->dir);
    log_task_debug(task->spec.id, "removed");
    task_raise(task, LIFECYCLE_REMOVED, NULL);
}

static void on_nothing(const struct fail *fail, void *data)
{
    struct removal *removal = data;

    (void)fail;
    task_raise(removal->task, LIFECYCLE_REMOVED, NULL);
}

static const struct flow_step no_steps[] = { {} };

/* Without the runtime directory it was never ours: nothing here is to be touched. */
static void begin(struct removal *removal)
{
    struct task *task = removal->task;

    if (task->dir != NULL)
        removal->clear = clear_all(task, on_cleared, removal);
    else
        removal->flow = flow_start(task_event_loop(task), no_steps, on_nothing, removal);
}

struct removal *removal_new(struct task *task, struct task_asker *asker)
{
    struct removal *removal = ALLOC_NEW(struct removal);

    removal->task = task;
    if (asker != NULL) {
        removal->asker.done = TAKE_PTR(asker->done);
        removal->asker.data = asker->data;
        fail_move(&removal->asker.fail, &asker->fail);
    }
    begin(removal);
    return removal;
}

static void on_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct removal *removal = data;
    struct task *task = removal->task;
    CLEANUP_FREE char *id = dir != NULL ? runtime_dir_read_id(dir) : NULL;

    removal->dir_op = NULL;
    if (fail != NULL && fail->error != -ENOENT)
        task_requests_answer(&task->destroys, fail);
    if (id != NULL && strcmp(id, task->spec.id) == 0)
        task->dir = dir;
    else
        runtime_dir_free(dir);
    begin(removal);
}

struct removal *removal_new_lost(struct task *task)
{
    struct removal *removal = ALLOC_NEW(struct removal);

    removal->task = task;
    removal->dir_op = runtime_dir_take(task_event_loop(task), task->names.machine, false, on_taken,
                                       removal);
    return removal;
}

void removal_answer(struct removal *removal, const struct fail *fail)
{
    task_asker_fail(&removal->asker, fail != NULL ? fail : &removal->asker.fail);
}

struct removal *removal_free(struct removal *removal)
{
    if (removal == NULL)
        return NULL;
    removal->dir_op = runtime_dir_op_free(removal->dir_op);
    removal->clear = clear_free(removal->clear);
    removal->flow = flow_free(removal->flow);
    fail_done(&removal->asker.fail);
    free(removal);
    return NULL;
}
