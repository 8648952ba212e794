/* The part of a start that has to do with what is to run inside: the spec file of every task, and
 * the init of a single process. */
#pragma once

#include "tasks/lifecycle/task.h"

/* A step: writes the spec and, for a booted system, nspawn's settings; for a single process binds
 * the init and listens for it. */
int start_payload_prepare(void *task, struct fail *fail);
/* What the init said may still lie in its socket. */
void start_payload_receive(struct task *task);
/* The command is there, or it could not be executed, which is the task's own end. */
bool start_payload_is_up(const struct task *task);
/* To be called once the task runs: tells of a command that could not be executed. */
void start_payload_tell(const struct task *task);
