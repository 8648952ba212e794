/* systemd's part on a fake bus: transient units that start and stop by jobs, and that hold the
 * descriptors they were given, as PID 1 does. Methods of it may still be refused or replaced on the
 * fake bus. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/support/reactor/fake_bus.h"

struct fake_systemd;

/* Answers Subscribe, StartTransientUnit, StopUnit, ResetFailedUnit, KillUnit, FreezeUnit
 * and ThawUnit on `fake`. */
struct fake_systemd *fake_systemd_new(struct fake_bus *fake, sd_event *event);
/* Drops the units with their descriptors. */
struct fake_systemd *fake_systemd_free(struct fake_systemd *systemd);

/* How jobs end: "done" unless told otherwise. A start that ends in another way leaves no unit. */
void fake_systemd_end_jobs(struct fake_systemd *systemd, const char *result);
/* Jobs end only when this is called with false. */
void fake_systemd_hold_jobs(struct fake_systemd *systemd, bool holds);

size_t fake_systemd_n_units(const struct fake_systemd *systemd);
bool fake_systemd_has_unit(const struct fake_systemd *systemd, const char *name);
/* The descriptors that the unit holds, borrowed; negative: none. */
int fake_systemd_stdout(const struct fake_systemd *systemd, const char *name);
int fake_systemd_stderr(const struct fake_systemd *systemd, const char *name);
