/* What systemd says of one service unit: now, and after each change. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "reactor/bus.h"

struct unit_state {
    bool loaded;      /* false: systemd knows no such unit; nothing else is set */
    bool is_active;   /* active, activating, deactivating or reloading */
    pid_t main_pid;   /* 0: the main process has ended, or was never started */
    int exit_code;    /* CLD_*; 0: has not ended */
    int exit_status;  /* code or signal, by exit_code */
    char result[32];  /* "success", "exit-code", "oom-kill", "timeout", ... */
    char invocation_id[33];
    uint64_t started_usec, exited_usec; /* CLOCK_REALTIME, 0: not yet */
};

/* True when the unit has run and its main process has ended. */
bool unit_state_has_ended(const struct unit_state *state);

struct unit_watch;
typedef void (*unit_changed_fn)(const struct unit_state *state, void *data);

/* The state as soon as it can be read, and after each change; read anew when the bus comes back.
 * The watch may be freed from its callback. */
struct unit_watch *unit_watch_new(struct bus *bus, const char *name, unit_changed_fn changed,
                                  void *data);
/* Reads the state again: `changed` is called when it is known. */
void unit_watch_refresh(struct unit_watch *watch);
struct unit_watch *unit_watch_free(struct unit_watch *watch);
