/* A /run and a /tmp of the test's own: empty tmpfs in a mount namespace of this process, so that
 * modules that keep files below /run can be tested on any machine and leave nothing behind, and
 * that nobody else makes files where a test counts what happens. Needs root. */
#pragma once

#include <stdbool.h>

/* To be called once, before any test; false: not root (or not allowed), nothing was changed. */
bool private_run_enter(void);
/* As a group set-up of cmocka: tells why and ends the program with success when it can't be had. */
int private_run_or_skip(void **state);
