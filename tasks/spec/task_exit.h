/* How a task, or a command in it, has ended, as Nomad wants to hear it. */
#pragma once

#include <stdbool.h>

struct task_exit {
    int exit_code; /* 128 + signal of what was killed */
    int signal;
    bool oom_killed;
    const char *error; /* a failure of the driver, not of the task; NULL: none */
};
