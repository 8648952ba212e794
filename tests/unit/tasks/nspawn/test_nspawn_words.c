#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tasks/nspawn/nspawn_words.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

static void expect(const char *line, const struct unit_state *unit, const char *text)
{
    CLEANUP_FAIL struct fail fail = {};

    expect_fail(nspawn_words_start_failure(line, unit, &fail), &fail, -EIO, text);
}

static void test_nspawn_is_quoted(void **state)
{
    const struct unit_state unit = { .exit_code = CLD_EXITED, .exit_status = 1 };

    (void)state;
    expect("Failed to stat /srv/x: No such file or directory", &unit,
           "systemd-nspawn: Failed to stat /srv/x: No such file or directory");
    expect("Refusing.", &unit, "systemd-nspawn: Refusing.");
    expect("", &unit, "systemd-nspawn: ");
}

static void test_busy_image_has_a_remedy(void **state)
{
    const struct unit_state unit = { .exit_code = CLD_EXITED, .exit_status = 1 };

    (void)state;
    expect("Directory tree /var/lib/machines/x is currently busy.", &unit,
           "systemd-nspawn: Directory tree /var/lib/machines/x is currently busy; another "
           "container runs from it: set ephemeral = true, or read_only = true in both");
    expect("Directory tree /x is currently busy", &unit,
           "systemd-nspawn: Directory tree /x is currently busy; another container runs from it: "
           "set ephemeral = true, or read_only = true in both");
}

static void test_end_without_a_word_is_told(void **state)
{
    (void)state;
    expect(NULL,
           &(struct unit_state){
               .exit_code = CLD_EXITED,
               .exit_status = 3,
               .result = "exit-code",
           },
           "systemd-nspawn ended before the container started (status 3, result exit-code)");
    expect(NULL,
           &(struct unit_state){
               .exit_code = CLD_KILLED,
               .exit_status = SIGKILL,
               .result = "signal",
           },
           "systemd-nspawn ended before the container started (signal 9, result signal)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_nspawn_is_quoted),
        FD_LEAK_TEST(test_busy_image_has_a_remedy),
        FD_LEAK_TEST(test_end_without_a_word_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
