/* Questions to machined (org.freedesktop.machine1). Ops: exactly one of `done` and
 * machined_op_free ends one; `done` is never called from inside. The bus going away ends an op with
 * -ENOTCONN. */
#pragma once

#include <sys/types.h>

#include "reactor/bus.h"
#include "reactor/fail.h"

struct machined_op;

/* The directory (or file) of an image that machined knows. -ENOENT: it does not. */
typedef void (*machined_image_fn)(const char *path, const struct fail *fail, void *data);
struct machined_op *machined_find_image(struct bus *bus, const char *name, machined_image_fn done,
                                        void *data);

/* The leader (PID 1) of a machine that runs; -ENOENT: machined knows none of this name. */
typedef void (*machined_leader_fn)(pid_t leader, const struct fail *fail, void *data);
struct machined_op *machined_find_leader(struct bus *bus, const char *name, machined_leader_fn done,
                                         void *data);

struct machined_op *machined_op_free(struct machined_op *op);
