/* The steps of a start before the container: `start` is a struct start; they answer as flow.h says,
 * and cancel with the start. */
#pragma once

#include "reactor/fail.h"

int start_prepare_await_bus(void *start, struct fail *fail);
int start_prepare_take_dir(void *start, struct fail *fail);
int start_prepare_clear(void *start, struct fail *fail);
int start_prepare_write_id(void *start, struct fail *fail);
int start_prepare_find_image(void *start, struct fail *fail);
int start_prepare_make_dirs(void *start, struct fail *fail);
int start_prepare_decide_network(void *start, struct fail *fail);
int start_prepare_network(void *start, struct fail *fail);
int start_prepare_names(void *start, struct fail *fail);
int start_prepare_mount_points(void *start, struct fail *fail);
