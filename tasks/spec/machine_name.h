/* Names that follow from a task: of the machine, its unit and its slice. Always the same for the
 * same task, and different for different ones. Pure; every result is heap. */
#pragma once

#include <stdbool.h>

/* What systemd takes for a host name, and machined for a machine's: parts of letters, digits and
 * dashes with a single dot between, no dash at the beginning or end of a part; at most
 * MACHINE_NAME_BYTES_MAX. */
bool machine_name_is_valid(const char *name);

/* `<task>-<alloc id>`, as `machinectl list` shows it. Where that is no machine name, what is not
 * allowed becomes '-', it is cut, and a hash of the original is added. */
char *machine_name_make(const char *task, const char *alloc_id);

/* 16 hex digits: without a dash, because each dash in a slice's name makes one more slice, which
 * stays behind. */
char *machine_name_slice_id(const char *machine);
/* "nspawn-<slice id>.slice" */
char *machine_name_slice(const char *machine);
/* "nspawn-<machine>.service" */
char *machine_name_unit(const char *machine);
/* "nspawn-<machine>-logs.service", which holds Nomad's end of the log. */
char *machine_name_logs_unit(const char *machine);

/* The kernel's limit for a host name. */
#define MACHINE_NAME_BYTES_MAX 64
