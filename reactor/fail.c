#include "reactor/fail.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

__attribute__((format(printf, 4, 0)))
static int set(struct fail *fail, int error, bool recoverable, const char *format, va_list args)
{
    assert(error < 0);
    if (fail == NULL || fail->error != 0)
        return error;
    fail->error = error;
    fail->recoverable = recoverable;
    fail->message = alloc_vprintf(format, args);
    return error;
}

int fail_set(struct fail *fail, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int r = set(fail, error, false, format, args);
    va_end(args);
    return r;
}

int fail_set_recoverable(struct fail *fail, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int r = set(fail, error, true, format, args);
    va_end(args);
    return r;
}

void fail_prefix(struct fail *fail, const char *format, ...)
{
    if (fail == NULL || fail->error == 0)
        return;

    va_list args;
    va_start(args, format);
    char *prefix = alloc_vprintf(format, args);
    va_end(args);

    char *message = alloc_printf("%s: %s", prefix, fail_text(fail));
    free(prefix);
    free(fail->message);
    fail->message = message;
}

const char *fail_text(const struct fail *fail)
{
    return fail->message != NULL ? fail->message : strerror(-fail->error);
}

void fail_move(struct fail *to, struct fail *from)
{
    assert(to->error == 0);
    *to = *from;
    *from = (struct fail){};
}

void fail_copy(struct fail *to, const struct fail *from)
{
    if (to->error != 0)
        return;
    *to = *from;
    to->message = alloc_strdup(from->message);
}

void fail_done(struct fail *fail)
{
    free(fail->message);
    *fail = (struct fail){};
}
