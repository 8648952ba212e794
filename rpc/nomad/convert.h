/* Small values between messages and the task side. What comes from a message may be anything: a
 * missing sub-message is NULL, a number is any number. What goes out is made in memory of the
 * caller and lends its strings from where they came. */
#pragma once

#include <stdint.h>

#include "driver.pb-c.h"
#include "reactor/strv.h"
#include "tasks/driver.h"

/* Ten years: longer than any wait, and small enough to be added to any clock. */
#define CONVERT_DURATION_USEC_MAX (UINT64_C(10) * 365 * 24 * 3600 * 1000 * 1000)

/* Never fails, since a failing StopTask is retried for minutes: a missing or negative duration is
 * 0, a longer one than CONVERT_DURATION_USEC_MAX is that. */
uint64_t convert_duration_usec(const Google__Protobuf__Duration *duration);

/* CLOCK_REALTIME; 0 becomes Go's zero time, which the agent takes for "not yet". */
void convert_timestamp(uint64_t usec, Google__Protobuf__Timestamp *ret);

void convert_exit(const struct task_exit *exit, Nomad__ExitResult *ret);
Nomad__TaskState convert_phase(enum task_phase phase);

/* `text` as a protobuf string may be: itself when it is valid UTF-8 (NULL: ""), else a clean copy
 * that `texts` owns. One bad byte would fail the whole answer at the agent. */
const char *convert_text(struct strv *texts, const char *text);

/* A path that the kernel takes. */
#define CONVERT_PATH_BYTES_MAX 4095
/* An absolute path, or none: then *ret stays as it is. `what` is for the sentence. */
int convert_path(const char *what, const char *path, char **ret, struct fail *reterr);
