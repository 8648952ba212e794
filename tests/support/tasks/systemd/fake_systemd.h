/* systemd's part on a fake bus: transient units that start and stop by jobs, and that hold the
 * descriptors they were given, as PID 1 does. Methods of it may still be refused or replaced on the
 * fake bus. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "reactor/strv.h"
#include "tests/support/reactor/fake_bus.h"

struct fake_systemd;

/* Answers Subscribe, StartTransientUnit, StopUnit, ResetFailedUnit, KillUnit, FreezeUnit
 * and ThawUnit on `fake`. */
struct fake_systemd *fake_systemd_new(struct fake_bus *fake, sd_event *event);
/* Kills what runs and drops the units with their descriptors. */
struct fake_systemd *fake_systemd_free(struct fake_systemd *systemd);

/* How jobs end: "done" unless told otherwise. A start that ends in another way leaves no unit. */
void fake_systemd_end_jobs(struct fake_systemd *systemd, const char *result);
/* Jobs end only when this is called with false. */
void fake_systemd_hold_jobs(struct fake_systemd *systemd, bool holds);

size_t fake_systemd_n_units(const struct fake_systemd *systemd);
bool fake_systemd_has_unit(const struct fake_systemd *systemd, const char *name);
/* Slices of units that were started, until they are stopped themselves. */
size_t fake_systemd_n_slices(const struct fake_systemd *systemd);
/* The descriptors that the unit holds, borrowed; negative: none. */
int fake_systemd_stdout(const struct fake_systemd *systemd, const char *name);
int fake_systemd_stderr(const struct fake_systemd *systemd, const char *name);

/* --- units that are processes ---------------------------------------------------------------- */

/* What is to be run. Borrowed. */
struct fake_service {
    const char *name;
    const char *slice, *network_namespace; /* NULL: none */
    struct strv argv, environment;
    int stdout_fd, stderr_fd; /* negative: none */
};

/* Answers the pid of a child of this process. */
typedef pid_t (*fake_systemd_run_fn)(const struct fake_service *service, void *data);
/* That child has ended: what is left of the unit's processes is to be killed. */
typedef void (*fake_systemd_ended_fn)(void *data);

/* From now on a unit that is no oneshot and no socket is a process: run by `run`, told of by
 * PropertiesChanged and GetAll (which is answered from now on, too), and ended by SIGTERM to it
 * when the unit is stopped. It remains with its result after its end, as with RemainAfterExit; one
 * that was killed has failed, and remains until it is reset. */
void fake_systemd_run(struct fake_systemd *systemd, fake_systemd_run_fn run,
                      fake_systemd_ended_fn ended, void *data);
/* Result of units that end from now on, instead of what follows from how they did ("oom-kill");
 * NULL: that. */
void fake_systemd_set_result(struct fake_systemd *systemd, const char *result);
/* 0: there is no such unit, or its process has ended. */
pid_t fake_systemd_main_pid(const struct fake_systemd *systemd, const char *name);
/* The unit is not known any more, of which nothing tells; its process is killed. */
void fake_systemd_forget(struct fake_systemd *systemd, const char *name);
