/* What RecoverTask needs to find a task again, kept by Nomad as bytes that mean nothing to it: a
 * msgpack map {"version": 1, ...}. Keys that are not known are passed over, those missing keep
 * their zero value: so a later version may add some, and the number is raised only when a plugin of
 * today must not try. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "reactor/strv.h"

/* In memory of the caller; zero-filled is empty. Strings are owned and may be NULL, except where
 * said. */
struct driver_state {
    /* Required: the machine, from which unit and slice follow (machine_name); the unit's invocation
     * id, 32 hex digits, which tells it from a later one of that name; the host's boot id: another
     * one means that all of it is gone. */
    char *machine, *invocation_id, *boot_id;
    char *stdout_path, *stderr_path; /* Nomad's FIFOs */
    char *runtime_dir;
    char *image;
    bool boot;                /* a booted system, else a process */
    bool as_pid2;             /* the process runs under an init */
    uint32_t uid_base;        /* first uid of its user namespace; 0: not fixed */
    struct strv shifted_dirs; /* whose ownership we keep shifted to uid_base */
    uint64_t started_usec;    /* CLOCK_REALTIME */
};

/* Heap; *ret_bytes is to be freed. */
void driver_state_encode(const struct driver_state *state, uint8_t **ret_bytes,
                         size_t *ret_n_bytes);
/* -EINVAL: not a state of ours, or damaged; -EPROTONOSUPPORT: of a newer version. On error `state`
 * is empty. */
int driver_state_decode(struct driver_state *state, const uint8_t *bytes, size_t n_bytes,
                        struct fail *reterr);
void driver_state_done(struct driver_state *state);
