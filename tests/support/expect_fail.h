/* What a function that takes a `struct fail *` must say when it refuses. */
#pragma once

#include "reactor/fail.h"

/* Fails the running cmocka test unless `r` and the failure are `error`, and the sentence is `text`.
 * The failure is empty afterwards, so that it can be used again. */
void expect_fail(int r, struct fail *fail, int error, const char *text);
/* The same, where the sentence has variable parts: it must hold `part`. */
void expect_fail_with(int r, struct fail *fail, int error, const char *part);
