/* Tasks from their start to their removal, by the driver: with real processes, in namespaces, for
 * what systemd and nspawn would run. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

static void expect_output(int fd, const char *expected)
{
    CLEANUP_FREE char *text = driver_fixture_read(fd);

    assert_string_equal(text, expected);
}

static void test_a_process_starts_runs_ends_and_is_destroyed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    assert_int_equal(driver_fixture_phase(f), TASK_PHASE_RUNNING);
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_let_go(f, "7");
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 7);
    assert_int_equal(wait->exit.signal, 0);
    assert_null(wait->text);
    expect_output(f->stdout_fd, "started\n");
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_process_starts_runs_ends_and_is_destroyed),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
