/* What the files of the fake systemd share. */
#pragma once

#include <stdint.h>

#include "tests/support/tasks/systemd/fake_systemd.h"

#define SYSTEMD "org.freedesktop.systemd1"

struct unit {
    char *name;                  /* NULL: stopped */
    struct fake_service service; /* what it was started with; its descriptors are the unit's */
    char *slice, *network_namespace;
    bool is_oneshot, is_socket;
    /* Of a process. */
    struct fake_systemd *systemd;
    sd_event_source *exited;
    int pidfd;
    pid_t pid; /* 0: none, or it has ended */
    bool has_failed, is_stopping;
    uint32_t stop_job;
    int exit_code, exit_status; /* as of waitid(2) */
    const char *result;
    uint64_t started_usec, exited_usec; /* CLOCK_REALTIME */
    uint8_t invocation_id[16];
};

struct job {
    uint32_t id;
    char *unit;
    bool waits; /* for the end of a process */
};

struct fake_systemd {
    struct fake_bus *fake;
    sd_event *event;
    struct unit **units;
    size_t n_units;
    struct strv slices;
    struct job *jobs; /* that have not ended */
    size_t n_jobs;
    uint32_t last_job;
    char *result;
    bool holds_jobs;
    sd_event_source *work;
    fake_systemd_run_fn run; /* NULL: no unit is a process */
    fake_systemd_ended_fn ended;
    void *data;
    const char *exit_result;
};

struct unit *fake_systemd_find(const struct fake_systemd *systemd, const char *name);
/* Its descriptors are closed, its process killed and reaped. */
void fake_systemd_drop(struct unit *unit);
/* The job may end. */
void fake_systemd_release_job(struct fake_systemd *systemd, uint32_t id);

/* fake_systemd_process.c */
void fake_systemd_run_unit(struct unit *unit);
void fake_systemd_kill_process(struct unit *unit);
