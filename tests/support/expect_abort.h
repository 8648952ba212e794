/* Code that must not go on: run in a child process, which has to end by abort(3). */
#pragma once

/* Fails the running cmocka test when `run` returns. What the child says is not shown. */
void expect_abort(void (*run)(void *data), void *data);
