/* Fills the cache of seccomp programs from a container that nspawn has just set up with its own:
 * reading them stops the leader, and takes a few ms. */
#pragma once

#include "reactor/worker.h"
#include "tasks/security/seccomp_cache.h"

/* A worker. `leader` must not have run anything yet but our init: what runs later may add programs
 * of its own. */
struct worker *seccomp_fill(sd_event *event, pid_t leader, const char *key, worker_done_fn done,
                            void *data);

/* A leader that does not stop for its tracer, being frozen, is waited for no longer: its start
 * waits for us. */
#define SECCOMP_FILL_SEC 2
