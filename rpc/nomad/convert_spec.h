/* The border for what Nomad asks to be run: TaskConfig message to struct task_spec. Everything that
 * the task side may rely on is checked here. */
#pragma once

#include "driver.pb-c.h"
#include "reactor/fail.h"
#include "tasks/spec/task_spec.h"

/* Nomad's ids are about 36 + 1 + task name + 9 bytes; the id is in log lines and error texts. */
#define CONVERT_SPEC_ID_BYTES_MAX 1024
/* Nomad sends about a hundred of its own. Setting them one by one costs the square of it. */
#define CONVERT_SPEC_ENV_MAX 4096
/* Each is an argument and a mount; the kernel allows 100,000 mounts a namespace. */
#define CONVERT_SPEC_MOUNTS_MAX 1024

/* For StartTask: `config` may be NULL, which is refused like a missing id, name, allocation or
 * directory. -EINVAL, or -E2BIG beyond a limit. `ret`, an empty spec
 * before, is filled on success only. */
int convert_spec(const Nomad__TaskConfig *config, struct task_spec *ret, struct fail *reterr);

/* For RecoverTask: of an old handle only the id is required, the rest is taken as it is there. */
int convert_spec_of_handle(const Nomad__TaskHandle *handle, struct task_spec *ret,
                           struct fail *reterr);
