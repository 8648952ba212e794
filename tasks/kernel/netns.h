/* Work in another network namespace. This process has one thread, which goes there and comes back
 * before anything else runs; what is opened there (a netlink socket) stays of that namespace. */
#pragma once

#include <sys/types.h>

/* A descriptor of the process's namespace, or negative errno. */
int netns_open(pid_t pid);
/* Answers what `work` does, or negative errno: the namespace could not be entered. */
int netns_run(int netns_fd, int (*work)(void *data), void *data);
/* As netns_run, of writing a text to a file below /proc/sys/net, which shows the namespace of
 * whoever opens it. */
int netns_write_sysctl(int netns_fd, const char *path, const char *text);
