#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
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

static void test_command_that_can_t_be_executed_is_found(void **state)
{
    static const struct {
        const char *line, *command, *reason;
    } rows[] = {
        { "execv(/x) failed: No such file or directory", "/x", "No such file or directory" },
        { "web: execv(a b) failed: Permission denied", "a b", "Permission denied" },
        { "execv(f(1)) failed: Exec format error", "f(1)", "Exec format error" },
        { "execv() failed: ", "", "" },
        { "execv(/x)", NULL, NULL },
        { "execv(/x failed: y", NULL, NULL },
        { ") failed: execv(", NULL, NULL },
        { "fexecve(/x) failed", NULL, NULL },
        { "", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP_FREE char *command = NULL;
        const char *reason = NULL;
        bool found = nspawn_words_exec_failure(rows[i].line, &command, &reason);

        assert_int_equal(found, rows[i].command != NULL);
        if (!found)
            continue;
        assert_string_equal(command, rows[i].command);
        assert_string_equal(reason, rows[i].reason);
    }
}

static void test_status_of_the_payload_is_told_from_nspawn_s_own(void **state)
{
    const char *status = "Container running: warming up";

    (void)state;
    assert_ptr_equal(nspawn_words_inner_status(status), status + strlen("Container running: "));
    assert_null(nspawn_words_inner_status("Container running: "));
    assert_null(nspawn_words_inner_status("Container running."));
    assert_null(nspawn_words_inner_status("Terminating..."));
    assert_null(nspawn_words_inner_status(" Container running: x"));
    assert_null(nspawn_words_inner_status(""));
}

static void test_environment(void **state)
{
    CLEANUP(strv_done) struct strv plain = {}, filtered = {};

    (void)state;
    nspawn_words_environment("/run/x/notify", false, &plain);
    CLEANUP_FREE char *text = strv_join(&plain, " ");
    assert_string_equal(text, "NOTIFY_SOCKET=/run/x/notify SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 "
                              "SYSTEMD_LOG_LEVEL=err");
    nspawn_words_environment("/run/x/notify", true, &filtered);
    assert_int_equal(filtered.n_items, plain.n_items + 1);
    assert_true(strv_contains(&filtered, "SYSTEMD_SECCOMP=0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_nspawn_is_quoted),
        FD_LEAK_TEST(test_busy_image_has_a_remedy),
        FD_LEAK_TEST(test_end_without_a_word_is_told),
        FD_LEAK_TEST(test_command_that_can_t_be_executed_is_found),
        FD_LEAK_TEST(test_status_of_the_payload_is_told_from_nspawn_s_own),
        FD_LEAK_TEST(test_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
