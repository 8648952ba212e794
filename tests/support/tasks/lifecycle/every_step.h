/* Every step: a flow is run again and again, disturbed after its nth event, n = 1, 2, 3, until it
 * ends undisturbed; and all of that for each thing that can come in between. After each run all has
 * been answered once and nothing is left. */
#pragma once

#include "tests/support/tasks/lifecycle/driver_fixture.h"

/* `begin` gets the task to where the flow begins, and begins it: what is to be waited for. In
 * between come a stop, a stop without time, a destroy by force, freezing and thawing, a bus that is
 * lost, a systemd that restarts, nspawn killed, and the end of the plugin. Fails the running test
 * at what is not as it should be. */
void every_step(struct asked *(*begin)(struct driver_fixture *f));
/* The same with requests that mean nothing in the middle of a flow: a destroy without force, a stop
 * and a destroy at once, another start. */
void every_step_refused(struct asked *(*begin)(struct driver_fixture *f));

/* A teardown, which tells where a test failed, and looks for descriptors (fd_leak.h). */
int every_step_teardown(void **state);

#define EVERY_STEP_TEST(test) \
    cmocka_unit_test_setup_teardown(test, fd_leak_setup, every_step_teardown)
