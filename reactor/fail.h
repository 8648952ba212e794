/* What a job author reads when something fails: a sentence and an errno. The first message wins, so
 * the place that knows best speaks and those above may add nothing.
 * In memory of the caller; zero-filled means "no failure"; fail_done() empties it. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

struct fail {
    int error; /* negative errno, 0: nothing failed */
    /* A later attempt may succeed without a change of the job: Nomad's restart policy applies. */
    bool recoverable;
    char *message; /* owned; UTF-8, one sentence without a trailing period */
};

/* Both answer `error` (negative errno), whether or not the message was kept. A NULL fail is
 * allowed: the caller wants the errno only. */
int fail_set(struct fail *fail, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
int fail_set_recoverable(struct fail *fail, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " before a message that is there. */
void fail_prefix(struct fail *fail, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Never NULL: the message, or strerror of the errno. */
const char *fail_text(const struct fail *fail);

/* Moves the content out of `from`, which is empty afterwards; `to` must be empty. */
void fail_move(struct fail *to, struct fail *from);
/* As fail_set: a failure that `to` holds already stays. */
void fail_copy(struct fail *to, const struct fail *from);
void fail_done(struct fail *fail);

#define CLEANUP_FAIL __attribute__((cleanup(fail_done)))
