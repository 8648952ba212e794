/* Every step: a flow is run again and again, disturbed after its nth event, n = 1, 2, 3, until it
 * ends undisturbed. After each run all has been answered once and nothing is left. */
#pragma once

#include "tests/support/tasks/lifecycle/driver_fixture.h"

struct every_step {
    /* Gets the task to where the flow begins, and begins it: what is to be waited for. */
    struct asked *(*begin)(struct driver_fixture *f);
    /* What happens in the middle of it. */
    void (*disturb)(struct driver_fixture *f);
};

/* Afterwards the bus is there, and the task is destroyed by force. Answers how often it was
 * disturbed. Fails the running test at what is not as it should be. */
unsigned every_step(const struct every_step *flow);

/* A teardown, which tells where a test failed, and looks for descriptors (fd_leak.h). */
int every_step_teardown(void **state);

#define EVERY_STEP_TEST(test) \
    cmocka_unit_test_setup_teardown(test, fd_leak_setup, every_step_teardown)
