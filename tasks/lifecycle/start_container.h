/* The steps of a start from what is to run inside to the container that runs, and what is heard
 * meanwhile. `start` is a struct start; steps answer as flow.h says. */
#pragma once

#include "tasks/lifecycle/start.h"

int start_container_prepare(void *start, struct fail *fail);
int start_container_open_logs(void *start, struct fail *fail);
int start_container_run(void *start, struct fail *fail);
int start_container_await(void *start, struct fail *fail);
int start_container_hold_logs(void *start, struct fail *fail);

/* What systemd, nspawn, or the network has said may be what is waited for. */
void start_container_progress(struct start *start);
/* nspawn has said who PID 1 inside is. */
void start_container_leader(struct start *start);
/* Something failed while it was waited for. */
void start_container_fail(struct start *start, const struct fail *fail);
