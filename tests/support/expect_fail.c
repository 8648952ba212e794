#include "tests/support/expect_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check_error(int r, const struct fail *fail, int error)
{
    assert_true(error < 0);
    if (r != error || fail->error != error)
        fail_msg("answered %d, failure %d (%s); expected %d", r, fail->error,
                 fail->error < 0 ? fail_text(fail) : "none", error);
}

void expect_fail(int r, struct fail *fail, int error, const char *text)
{
    check_error(r, fail, error);
    assert_string_equal(fail_text(fail), text);
    fail_done(fail);
}

void expect_fail_with(int r, struct fail *fail, int error, const char *part)
{
    check_error(r, fail, error);
    if (strstr(fail_text(fail), part) == NULL)
        fail_msg("the sentence '%s' does not hold '%s'", fail_text(fail), part);
    fail_done(fail);
}
