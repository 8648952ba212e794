/* A cgroup v2 tree of the test's own: an empty cgroup of the host's, mounted over the whole of it
 * for this process, so that nobody else makes cgroups there. Needs root, and a cgroup v2 hierarchy
 * that can be written to. */
#pragma once

#include <stdbool.h>

/* To be called first in main: where it succeeds the program goes on in a child process, and its
 * parent removes the cgroup when that has ended. False: it can't be had, nothing was changed. */
bool private_cgroup_enter(void);
