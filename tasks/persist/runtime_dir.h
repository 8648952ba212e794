/* A task's runtime directory below /run: its FIFOs, notify socket and lock. It and what it stands
 * for belong to the process that holds the lock; two plugins never serve one task. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"

#define RUNTIME_DIR_ROOT "/run/nomad-driver-nspawn"

#define RUNTIME_DIR_STDOUT "stdout"
#define RUNTIME_DIR_STDERR "stderr"
#define RUNTIME_DIR_NOTIFY "notify"
#define RUNTIME_DIR_SPEC   "spec" /* tasks/inside/shared/inside_spec.h */

/* How long a plugin whose agent died may take to end before a new one gives up on its tasks. */
#define RUNTIME_DIR_LOCK_WAIT_USEC (10 * UINT64_C(1000000))

struct runtime_dir;
/* `dir` is NULL on failure. */
typedef void (*runtime_dir_taken_fn)(struct runtime_dir *dir, const struct fail *fail, void *data);
struct runtime_dir_op;

/* Opens the directory of a machine, made anew with `create`, and takes its lock; waits (by pidfd)
 * for a holder that is about to end. -ENOENT: not there. */
struct runtime_dir_op *runtime_dir_take(sd_event *event, const char *machine, bool create,
                                        runtime_dir_taken_fn taken, void *data);
struct runtime_dir_op *runtime_dir_op_free(struct runtime_dir_op *op);

int runtime_dir_fd(const struct runtime_dir *dir);
const char *runtime_dir_path(const struct runtime_dir *dir);
/* It was there when it was to be created: an earlier start did not clear away what it made. */
bool runtime_dir_is_left_over(const struct runtime_dir *dir);
/* The id of the task that the directory is for; reading answers heap, or NULL. */
int runtime_dir_write_id(struct runtime_dir *dir, const char *id, struct fail *reterr);
char *runtime_dir_read_id(const struct runtime_dir *dir);
/* Removes the directory with all that is in it; the lock goes with runtime_dir_free. */
void runtime_dir_remove(struct runtime_dir *dir);
struct runtime_dir *runtime_dir_free(struct runtime_dir *dir);
