/* Commands that are executed in a running container, by the driver: in real namespaces and, unless
 * it is said, with a cgroup. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/kernel/private_cgroup.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

static bool has_cgroups;

/* One command, and what came of it. */
struct run {
    struct driver_fixture *f;
    struct exec *exec; /* NULL when it has ended */
    char *output[EXEC_STREAM_MAX];
    unsigned n_ends[EXEC_STREAM_MAX];
    unsigned n_drained;
    bool has_ended;
    struct task_exit exit;
    int error;
    char *text;
};

static void on_output(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data)
{
    struct run *run = data;

    assert_false(run->has_ended);
    assert_int_equal(run->n_ends[stream], 0);
    run->n_ends[stream] += n == 0;
    char *longer = alloc_printf("%s%.*s", run->output[stream], (int)n, (const char *)bytes);
    free(run->output[stream]);
    run->output[stream] = longer;
}

static void on_drained(void *data)
{
    struct run *run = data;

    run->n_drained++;
}

static void on_ended(const struct task_exit *exit, const struct fail *fail, void *data)
{
    struct run *run = data;

    assert_false(run->has_ended);
    run->has_ended = true;
    run->exec = NULL;
    run->exit = *exit;
    if (fail == NULL)
        return;
    run->error = fail->error;
    run->text = alloc_strdup(fail_text(fail));
}

static const struct exec_events exec_events = { on_output, on_drained, on_ended };

static struct driver_fixture *start(const char *options)
{
    if (!has_cgroups)
        skip();
    struct driver_fixture *f = driver_fixture_new();
    fake_nspawn_make_cgroups(f->nspawn);
    driver_fixture_expect(f, driver_fixture_start(f, options));
    return f;
}

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_free(f);
}

struct how {
    bool tty;
    uint64_t timeout_usec;
};

/* A command for the shell; no command: NULL. */
static int try(struct driver_fixture *f, const char *command, struct how how, struct run *run,
               struct fail *fail)
{
    CLEANUP(strv_done) struct strv argv = {};

    *run = (struct run){ .f = f };
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        run->output[i] = alloc_strdup("");
    if (command != NULL) {
        strv_push(&argv, "/bin/sh");
        strv_push(&argv, "-c");
        strv_push(&argv, command);
    }
    return driver_exec_start(f->driver, DRIVER_FIXTURE_ID,
                             &(const struct exec_args){
                                 .argv = &argv, .tty = how.tty, .timeout_usec = how.timeout_usec },
                             &exec_events, run, &run->exec, fail);
}

static void run_start(struct driver_fixture *f, const char *command, struct how how,
                      struct run *run)
{
    CLEANUP_FAIL struct fail fail = {};

    if (try(f, command, how, run, &fail) < 0)
        fail_msg("'%s' was not executed: %s", command, fail_text(&fail));
}

static void run_await(struct run *run)
{
    assert_true(event_run_until_set(run->f->event, &run->has_ended));
}

static void run_done(struct run *run)
{
    run->exec = exec_free(run->exec);
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        free(run->output[i]);
    free(run->text);
}

/* Runs it to its end. */
static void expect(struct driver_fixture *f, const char *command, int code, const char *output)
{
    struct run run;

    run_start(f, command, (struct how){}, &run);
    run_await(&run);
    if (run.error < 0)
        fail_msg("'%s' failed: %s", command, run.text);
    assert_string_equal(run.output[EXEC_STDOUT], output);
    assert_int_equal(run.exit.exit_code, code);
    assert_int_equal(run.n_ends[EXEC_STDOUT], 1);
    assert_int_equal(run.n_ends[EXEC_STDERR], 1);
    run_done(&run);
}

static void test_a_command_has_output_and_exit_code(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "echo out; echo err >&2; exit 5", (struct how){}, &run);
    run_await(&run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.exit.exit_code, 5);
    assert_string_equal(run.output[EXEC_STDOUT], "out\n");
    assert_string_equal(run.output[EXEC_STDERR], "err\n");
    run_done(&run);
    destroy(f);
}

static void test_a_command_is_where_the_task_is_and_as_it_is(void **state)
{
    struct driver_fixture *f = start("'user': 'app', 'working_directory': '/etc', "
                                     "'environment': {'COLOUR': 'red'}, " DRIVER_FIXTURE_WAITS);

    (void)state;
    expect(f, "echo $(id -u) $PWD $COLOUR; ls /run/nomad-driver-nspawn/init", 0,
           "1000 /etc red\n/run/nomad-driver-nspawn/init\n");
    destroy(f);
}

static void test_a_command_in_a_booted_system_is_roots(void **state)
{
    struct driver_fixture *f = start("'boot': true, 'console': 'pipe'");

    (void)state;
    expect(f, "id -u; ps -o pid= -p 1 > /dev/null 2>&1; exit 0", 0, "0\n");
    destroy(f);
}

static void test_a_command_that_is_killed_ends_with_its_signal(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "kill -KILL $$", (struct how){}, &run);
    run_await(&run);
    assert_int_equal(run.exit.exit_code, 128 + SIGKILL);
    assert_int_equal(run.exit.signal, SIGKILL);
    run_done(&run);
    destroy(f);
}

static void start_argv(struct driver_fixture *f, const char *program, struct run *run)
{
    CLEANUP(strv_done) struct strv argv = {};

    *run = (struct run){ .f = f, .output = { alloc_strdup(""), alloc_strdup("") } };
    strv_push(&argv, program);
    int r = driver_exec_start(f->driver, DRIVER_FIXTURE_ID,
                              &(const struct exec_args){ .argv = &argv }, &exec_events, run,
                              &run->exec, NULL);
    assert_true(r >= 0);
}

static void test_commands_that_can_not_be_executed_end_as_in_a_shell(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    start_argv(f, "/no/such", &run);
    run_await(&run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.exit.exit_code, 127);
    assert_string_equal(run.output[EXEC_STDERR], "/no/such: not found\n");
    run_done(&run);
    start_argv(f, "/etc/passwd", &run);
    run_await(&run);
    assert_int_equal(run.exit.exit_code, 126);
    run_done(&run);
    destroy(f);
}

static void test_what_is_written_is_its_standard_input(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "cat; echo end", (struct how){}, &run);
    assert_int_equal(exec_write_stdin(run.exec, (const uint8_t *)"one\n", 4), 4);
    (void)exec_write_stdin(run.exec, (const uint8_t *)"two\n", 4);
    exec_close_stdin(run.exec);
    assert_int_equal(exec_write_stdin(run.exec, (const uint8_t *)"late\n", 5), 8);
    run_await(&run);
    assert_string_equal(run.output[EXEC_STDOUT], "one\ntwo\nend\n");
    assert_int_equal(run.n_drained, 1);
    run_done(&run);
    destroy(f);
}

static void test_input_that_nobody_reads_is_dropped(void **state)
{
    struct driver_fixture *f = start(NULL);
    CLEANUP_FREE uint8_t *bytes = alloc_zero(200000, 1);
    struct run run;

    (void)state;
    run_start(f, "exec <&-; echo closed; read go < /go/fifo", (struct how){}, &run);
    (void)exec_write_stdin(run.exec, bytes, 200000); /* more than a pipe holds */
    assert_true(fake_bus_n_calls(f->fake, NULL) > 0);
    driver_fixture_let_go(f, "0");
    driver_fixture_let_go(f, "0");
    run_await(&run);
    run_done(&run);
    destroy(f);
}

static void test_a_terminal(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "read line; stty size; echo $line; test -w $(tty) && echo mine",
              (struct how){ .tty = true }, &run);
    exec_resize(run.exec, 33, 99);
    (void)exec_write_stdin(run.exec, (const uint8_t *)"hello\n", 6);
    run_await(&run);
    assert_int_equal(run.error, 0);
    /* The first is its echo. */
    assert_string_equal(run.output[EXEC_STDOUT], "hello\r\n33 99\r\nhello\r\nmine\r\n");
    assert_string_equal(run.output[EXEC_STDERR], "");
    run_done(&run);
    destroy(f);
}

static bool is_said(void *data)
{
    const struct run *run = data;

    return run->output[EXEC_STDOUT][0] != '\0';
}

static void test_the_end_of_input_on_a_terminal(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "echo reads; cat > /dev/null; echo over", (struct how){ .tty = true }, &run);
    assert_true(event_run_until(f->event, is_said, &run));
    exec_resize(run.exec, 70000, 20);
    exec_close_stdin(run.exec);
    run_await(&run);
    assert_non_null(strstr(run.output[EXEC_STDOUT], "over"));
    run_done(&run);
    destroy(f);
}

static void test_a_command_that_takes_too_long_is_killed(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "exec sleep infinity", (struct how){ .timeout_usec = 50000 }, &run);
    run_await(&run);
    assert_int_equal(run.error, -ETIMEDOUT);
    run_done(&run);
    destroy(f);
}

static void test_output_that_is_paused_waits(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "echo out", (struct how){}, &run);
    exec_pause_output(run.exec, true);
    event_run_pending(f->event);
    assert_false(is_said(&run));
    assert_false(run.has_ended);
    exec_pause_output(run.exec, false);
    run_await(&run);
    assert_string_equal(run.output[EXEC_STDOUT], "out\n");
    run_done(&run);
    destroy(f);
}

/* Its processes, too. */
static void test_a_command_that_is_given_up_is_killed(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "sleep infinity & sleep infinity & echo started; wait", (struct how){}, &run);
    assert_true(event_run_until(f->event, is_said, &run));
    run.exec = exec_free(run.exec);
    event_run_pending(f->event);
    assert_false(run.has_ended);
    run_done(&run);
    destroy(f);
}

static void test_commands_end_with_their_task(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "echo started; exec sleep infinity", (struct how){}, &run);
    assert_true(event_run_until(f->event, is_said, &run));
    driver_fixture_let_go(f, "0");
    driver_fixture_await(f, driver_fixture_wait(f));
    run_await(&run);
    run_done(&run);
    destroy(f);
}

static void test_commands_end_with_the_plugin(void **state)
{
    struct driver_fixture *f = start(NULL);
    struct run run;

    (void)state;
    run_start(f, "echo started; exec sleep infinity", (struct how){}, &run);
    assert_true(event_run_until(f->event, is_said, &run));
    driver_fixture_end_driver(f);
    assert_true(run.has_ended);
    assert_int_equal(run.error, -ECANCELED);
    assert_non_null(strstr(run.text, "the plugin is ending"));
    run_done(&run);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_recover(f)); /* clears its cgroup away */
    expect(f, "echo again", 0, "again\n");
    destroy(f);
}

static void test_a_command_by_another_user_of_the_image_that_has_gone(void **state)
{
    struct driver_fixture *f = start("'user': 'app', " DRIVER_FIXTURE_WAITS);
    CLEANUP_FREE char *passwd = alloc_printf("%s/etc/passwd", f->image);
    struct run run;

    (void)state;
    assert_int_equal(truncate(passwd, 0), 0);
    run_start(f, "true", (struct how){}, &run);
    run_await(&run);
    assert_true(run.error < 0);
    assert_non_null(strstr(run.text, "there is no user 'app' in the container"));
    run_done(&run);
    destroy(f);
}

static void test_no_command_is_refused(void **state)
{
    struct driver_fixture *f = start(NULL);
    CLEANUP_FAIL struct fail fail = {};
    struct run run;

    (void)state;
    assert_int_equal(try(f, NULL, (struct how){}, &run, &fail), -EINVAL);
    run_done(&run);
    destroy(f);
}

static void test_a_task_that_is_not_there_or_has_ended(void **state)
{
    struct driver_fixture *f = start("'boot': false, 'command': ['/bin/true']");
    CLEANUP_FAIL struct fail fail = {};
    struct run run;

    (void)state;
    driver_fixture_await(f, driver_fixture_wait(f));
    assert_int_equal(try(f, "true", (struct how){}, &run, &fail), -ESRCH);
    run_done(&run);
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    fail_done(&fail);
    assert_int_equal(try(f, "true", (struct how){}, &run, &fail), -ENOENT);
    run_done(&run);
    driver_fixture_free(f);
}

static void test_a_unit_without_a_cgroup(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    CLEANUP_FAIL struct fail fail = {};
    struct run run;

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    assert_true(try(f, "true", (struct how){}, &run, &fail) < 0);
    assert_non_null(strstr(fail_text(&fail), "cannot make a cgroup for the command"));
    run_done(&run);
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_command_has_output_and_exit_code),
        FD_LEAK_TEST(test_a_command_is_where_the_task_is_and_as_it_is),
        FD_LEAK_TEST(test_a_command_in_a_booted_system_is_roots),
        FD_LEAK_TEST(test_a_command_that_is_killed_ends_with_its_signal),
        FD_LEAK_TEST(test_commands_that_can_not_be_executed_end_as_in_a_shell),
        FD_LEAK_TEST(test_what_is_written_is_its_standard_input),
        FD_LEAK_TEST(test_input_that_nobody_reads_is_dropped),
        FD_LEAK_TEST(test_a_terminal),
        FD_LEAK_TEST(test_the_end_of_input_on_a_terminal),
        FD_LEAK_TEST(test_a_command_that_takes_too_long_is_killed),
        FD_LEAK_TEST(test_output_that_is_paused_waits),
        FD_LEAK_TEST(test_a_command_that_is_given_up_is_killed),
        FD_LEAK_TEST(test_commands_end_with_their_task),
        FD_LEAK_TEST(test_commands_end_with_the_plugin),
        FD_LEAK_TEST(test_a_command_by_another_user_of_the_image_that_has_gone),
        FD_LEAK_TEST(test_no_command_is_refused),
        FD_LEAK_TEST(test_a_task_that_is_not_there_or_has_ended),
        FD_LEAK_TEST(test_a_unit_without_a_cgroup),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* as in the plugin */
    has_cgroups = private_cgroup_enter();
    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
