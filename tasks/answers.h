/* Answers that are known at once and given later, from the loop: no `done` is called from inside
 * the function that it was given to. Owner: the driver. */
#pragma once

#include <systemd/sd-event.h>

#include "tasks/lifecycle/task_answers.h"

struct answers;

struct answers *answers_new(sd_event *event);
/* Gives those that wait first. */
struct answers *answers_free(struct answers *answers);

/* Takes the content of `fail`; NULL: success. In order. */
void answers_add(struct answers *answers, task_done_fn done, void *data, struct fail *fail);
/* For a start: always a failure. */
void answers_add_unstarted(struct answers *answers, task_started_fn done, void *data,
                           struct fail *fail);
