/* What the fixture answers for machined, networkd and systemd's own properties. */
#pragma once

#include "tests/support/tasks/lifecycle/driver_fixture.h"

void driver_fixture_answer(struct driver_fixture *f);
