/* What a container says while it lives: nspawn and what runs inside by sd_notify, the kernel of
 * processes that it killed for want of memory. Raises LIFECYCLE_LEADER and LIFECYCLE_READY; tells
 * the rest to the job's author. Owner: the task, from the container's start to its end. */
#pragma once

#include "tasks/lifecycle/task.h"

/* Listens in the task's runtime directory. */
int voice_new(struct task *task, bool is_recovered, struct voice **ret, struct fail *reterr);
struct voice *voice_free(struct voice *voice);
/* Hears at once what has arrived. */
void voice_receive(struct voice *voice);
/* nspawn has set up the container. */
bool voice_is_ready(const struct voice *voice);
/* From now on, kills for want of memory are told. */
void voice_follow_oom(struct voice *voice);
