/* A task that writes and a collector that reads, with a pump between them, all in one process. What
 * is written is a fixed endless stream, so what is read can be checked byte by byte. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "logs/pump.h"

struct pump_fixture {
    char *dir, *source, *target;
    sd_event *event;
    struct pump *pump;
    int payload; /* as PID 1 and the task hold it, but non-blocking */
    int holder;  /* as the holding unit holds it */
    int reader;  /* the collector's */
    uint64_t n_written, n_read;
    bool was_finished, was_replaced;
    int result;
};

/* With both FIFOs, a holder and a collector, without a pump. */
void pump_fixture_init(struct pump_fixture *fixture);
void pump_fixture_done(struct pump_fixture *fixture);

/* Fails the test when the pump can't be made. */
void pump_fixture_start(struct pump_fixture *fixture, bool remember_tail);
/* As a new plugin process does after the death of the old one. */
void pump_fixture_restart(struct pump_fixture *fixture);
void pump_fixture_finish(struct pump_fixture *fixture, uint64_t give_up_usec);
/* Fails the test when the finish does not come, or not with `result`. */
void pump_fixture_expect_end(struct pump_fixture *fixture, int result);

void pump_fixture_open_reader(struct pump_fixture *fixture);
void pump_fixture_close_reader(struct pump_fixture *fixture);

/* Writes the next at most `n` bytes of the stream; answers how many were taken. */
size_t pump_fixture_write(struct pump_fixture *fixture, size_t n);
/* Reads what is there, at most `n` bytes, and fails the test when it is not what comes next. */
size_t pump_fixture_read(struct pump_fixture *fixture, size_t n);
/* Runs the loop and reads until all that was written was read. */
void pump_fixture_read_all(struct pump_fixture *fixture);
/* Writes `n` bytes in writes of `n_write` and reads in reads of `n_read`, until all has come. */
void pump_fixture_transfer(struct pump_fixture *fixture, size_t n, size_t n_write, size_t n_read);
/* Writes and runs until nothing more is taken: both pipes are full. */
void pump_fixture_fill(struct pump_fixture *fixture, size_t n_write);
