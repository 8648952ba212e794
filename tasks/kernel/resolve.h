/* Opens paths with a say in where they may lead: what lies in a task's directories or in an image
 * was made by others, and so were the links there. */
#pragma once

#include <stdint.h>

/* `resolve`: RESOLVE_* of openat2(2), <linux/openat2.h>. Close-on-exec. Answers the descriptor or
 * negative errno; -EAGAIN: the path leads up, and something was renamed or mounted in each of
 * RESOLVE_TRIES tries. */
int resolve_open(int dir_fd, const char *path, int flags, uint64_t resolve);

/* The canonical path of what `path` leads to, which lies in the directory `dir` or below it; heap.
 * -EXDEV: it leads out (an absolute link, too). -ELOOP, -ENOENT, -ENOTDIR and their like. */
int resolve_below(const char *dir, const char *path, char **ret_path);

/* Any rename on the machine can spoil one try (the kernel can't tell whether it was in the way), so
 * that one is not enough; nor are some dozens beside a process that renames all the time on another
 * processor. A try is some microseconds, all of them are some ms. */
#define RESOLVE_TRIES 4096
