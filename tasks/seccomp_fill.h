/* Fills the cache of seccomp programs from a container that nspawn has just set up with its own, in
 * a process of its own: reading them stops the leader, and takes a few ms. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "tasks/seccomp_cache.h"

struct seccomp_fill;

/* Whether it went well is in the log only: the next start tries again. */
typedef void (*seccomp_fill_done_fn)(void *data);

/* `leader` must not have run anything yet but our init: what runs later may add programs of its
 * own. Exactly one of `done` and seccomp_fill_free ends it. NULL: there is no process for it. */
struct seccomp_fill *seccomp_fill_new(sd_event *event, pid_t leader, const char *key,
                                      seccomp_fill_done_fn done, void *data);
struct seccomp_fill *seccomp_fill_free(struct seccomp_fill *fill);

/* Of the process. A leader that does not stop for its tracer, being frozen, is waited for no
 * longer: its start waits for us. */
#define SECCOMP_FILL_SEC 2
