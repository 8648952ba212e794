/* The process of an exec, and the ends of what connects it with the plugin. */
#pragma once

#include "tasks/exec/exec_child.h"

/* [0] reads and [1] writes; `report` goes both ways, [0] is ours. Ours of the others are `in[1]`,
 * `out[0]` and `err[0]`, and do not block. In memory of the caller; negative: not open. */
struct exec_ends {
    int report[2], in[2], out[2], err[2];
};

#define EXEC_ENDS_NONE                                                                  \
    {                                                                                   \
        { -EBADF, -EBADF }, { -EBADF, -EBADF }, { -EBADF, -EBADF }, { -EBADF, -EBADF }, \
    }

/* With a tty only `report`, by which the terminal comes. */
int exec_ends_make(struct exec_ends *ends, bool tty);
/* Closes what is open. */
void exec_ends_done(struct exec_ends *ends);

/* Clones the child into the container's pid namespace and the cgroup in one step; it is our own
 * child, and has to be waited for by the pidfd. */
int exec_spawn(const struct exec_child *child, int cgroup_fd, int *ret_pidfd);
