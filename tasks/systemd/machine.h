/* Questions to machined (org.freedesktop.machine1). Ops: exactly one of `done` and
 * machine_op_free ends one; `done` is never called from inside. The bus going away ends an op with
 * -ENOTCONN. */
#pragma once

#include <sys/types.h>

#include "reactor/bus.h"
#include "reactor/fail.h"

struct machine_op;

/* The directory (or file) of an image that machined knows. -ENOENT: it does not. */
typedef void (*machine_image_fn)(const char *path, const struct fail *fail, void *data);
struct machine_op *machine_find_image(struct bus *bus, const char *name, machine_image_fn done,
                                      void *data);

/* The leader (PID 1) of a machine that runs; -ENOENT: machined knows none of this name. */
typedef void (*machine_leader_fn)(pid_t leader, const struct fail *fail, void *data);
struct machine_op *machine_find_leader(struct bus *bus, const char *name, machine_leader_fn done,
                                       void *data);

struct machine_op *machine_op_free(struct machine_op *op);
