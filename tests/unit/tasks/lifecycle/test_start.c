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
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

#define COMMAND(text) "'boot': false, 'command': ['/bin/sh', '-c', '" text "']"

static void destroy(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

/* Started, and ended by itself. */
static struct task_exit run(struct driver_fixture *f, const char *options)
{
    driver_fixture_expect(f, driver_fixture_start(f, options));
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_int_equal(wait->error, 0);
    assert_null(wait->text);
    return wait->exit;
}

static void expect_refused(struct driver_fixture *f, const char *options, int error,
                           const char *part)
{
    const struct asked *start = driver_fixture_start(f, options);

    driver_fixture_await(f, start);
    if (start->error != error || strstr(start->text, part) == NULL)
        fail_msg("the start ended with %d, '%s'; expected %d, '%s'", start->error,
                 start->text != NULL ? start->text : "", error, part);
}

/* --- that run -------------------------------------------------------------------------------- */

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
    assert_int_equal(driver_fixture_phase(f), TASK_PHASE_EXITED);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "started\n");
    destroy(f);
}

/* Also what was written last. */
static void test_output_of_both_streams_is_nomads_before_the_end_is_told(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    struct task_exit exit = run(f, COMMAND("echo out; echo err >&2; echo last"));
    assert_int_equal(exit.exit_code, 0);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "out\nlast\n");
    assert_string_equal(driver_fixture_output(f, EXEC_STDERR), "err\n");
    destroy(f);
}

static void test_a_wait_is_answered_also_after_the_end(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    assert_int_equal(run(f, COMMAND("exit 3")).exit_code, 3);
    const struct asked *again = driver_fixture_wait(f);
    driver_fixture_await(f, again);
    assert_int_equal(again->exit.exit_code, 3);
    destroy(f);
}

static void test_a_command_can_be_pid_1_itself(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    struct task_exit exit = run(f, "'process_two': false, " COMMAND("echo $$; exit 4"));
    assert_int_equal(exit.exit_code, 4);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "1\n");
    destroy(f);
}

static void test_a_command_has_user_directory_and_environment(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    struct task_exit exit = run(f, "'user': 'app', 'working_directory': '/etc', "
                                   "'environment': {'COLOUR': 'red'}, " COMMAND(
                                       "echo $(id -u) $HOME $PWD $COLOUR"));
    assert_int_equal(exit.exit_code, 0);
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "1000 /tmp /etc red\n");
    destroy(f);
}

static void test_a_system_boots_and_is_shut_down_in_order(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, "'boot': true, 'console': 'pipe', "
                                                     "'environment': {'COLOUR': 'red'}"));
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "the system is up"));
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_expect(f, driver_fixture_stop(f, 20000000, NULL));
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 0);
    assert_int_equal(wait->exit.signal, 0);
    assert_true(driver_fixture_was_told(f, "Sent SIGRTMIN+3 to the system's init"));
    assert_string_equal(driver_fixture_output(f, EXEC_STDOUT), "the system is up\n");
    destroy(f);
}

static void test_an_image_may_be_one_that_machined_knows(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(
        f, driver_fixture_start_config(f, "{'image': 'debian', 'user_namespacing': false, "
                                          "'network_veth': false, " COMMAND("exit 0") "}"));
    driver_fixture_await(f, driver_fixture_wait(f));
    destroy(f);
}

static void bind_dirs(struct task_spec *spec, struct driver_fixture *f)
{
    static const char *const names[] = { "alloc", "web", "web/local", "web/secrets", "volume" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CLEANUP_FREE char *path = scratch_dir_path(f->dir, names[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    pairs_set(&spec->env, "NOMAD_ALLOC_DIR", "/alloc");
    pairs_set(&spec->env, "NOMAD_TASK_DIR", "/local");
    pairs_set(&spec->env, "NOMAD_SECRETS_DIR", "/secrets");
    spec->mounts = alloc_zero(1, sizeof(*spec->mounts));
    spec->n_mounts = 1;
    spec->mounts[0] = (struct task_mount){
        .task_path = alloc_strdup("/volume"),
        .host_path = scratch_dir_path(f->dir, "volume"),
    };
}

static void expect_file(const struct driver_fixture *f, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(f->dir, name);

    if (access(path, F_OK) < 0)
        fail_msg("there is no '%s'", path);
}

#define WRITES COMMAND("touch /alloc/a /local/b /secrets/c /volume/d")

static void test_nomads_directories_and_volumes_are_inside(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = bind_dirs;
    assert_int_equal(run(f, WRITES).exit_code, 0);
    expect_file(f, "alloc/a");
    expect_file(f, "web/local/b");
    expect_file(f, "web/secrets/c");
    expect_file(f, "volume/d");
    destroy(f);
}

/* The kernel may not ID-map this file system; the owners are shifted on the host then. */
static void test_so_they_are_in_a_user_namespace(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    CLEANUP_FREE char *config = alloc_printf("{'image': '%s', 'network_veth': false, " WRITES "}",
                                             f->image);

    (void)state;
    f->prepare = bind_dirs;
    driver_fixture_expect(f, driver_fixture_start_config(f, config));
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 0);
    expect_file(f, "web/local/b");
    destroy(f);
}

/* --- that can't be executed ------------------------------------------------------------------ */

static void test_a_command_that_is_not_there_is_an_exit(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    assert_int_equal(run(f, "'boot': false, 'command': ['/no/such']").exit_code, 127);
    assert_true(driver_fixture_await_told(f, "Command \"/no/such\" cannot be executed"));
    destroy(f);
}

static void test_so_it_is_as_pid_1(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    assert_int_equal(
        run(f, "'boot': false, 'process_two': false, 'command': ['/etc/passwd']").exit_code, 126);
    assert_true(driver_fixture_await_told(f, "Command \"/etc/passwd\" cannot be executed"));
    destroy(f);
}

static void test_a_user_that_the_image_does_not_know_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    expect_refused(f, "'user': 'nobody-here', " COMMAND("exit 0"), -EINVAL,
                   "user 'nobody-here': the image knows no such user");
    driver_fixture_free(f);
}

static void test_a_directory_that_is_not_there_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    expect_refused(f, "'working_directory': '/no/such', " COMMAND("exit 0"), -EINVAL,
                   "the directory '/no/such' (working_directory) cannot be entered");
    driver_fixture_free(f);
}

static void test_an_image_that_is_not_there_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();
    const struct asked *start = driver_fixture_start_config(
        f, "{'image': '/no/such', 'network_veth': false, " COMMAND("exit 0") "}");

    (void)state;
    driver_fixture_await(f, start);
    assert_int_equal(start->error, -ENOENT);
    driver_fixture_free(f);
}

static void test_a_bind_of_nothing_fails_the_start(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    expect_refused(f, "'bind': {'/no/such': '/data'}, " COMMAND("exit 0"), -EIO, "/no/such");
    driver_fixture_free(f);
}

/* --- nspawn ---------------------------------------------------------------------------------- */

static void test_what_nspawn_says_is_why_the_start_failed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){
                                   .says = "Directory tree is currently busy.", .fails = 1 });
    expect_refused(f, NULL, -EIO, "systemd-nspawn: Directory tree is currently busy; another");
    assert_string_equal(driver_fixture_output(f, EXEC_STDERR),
                        "Directory tree is currently busy.\n");
    driver_fixture_free(f);
}

static void test_nspawn_that_ends_without_a_word_is_told_with_its_code(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .fails = 9 });
    expect_refused(f, NULL, -EIO, "ended before the container started (status 9, result success)");
    driver_fixture_free(f);
}

static bool has_main_pid(void *data)
{
    const struct driver_fixture *f = data;

    return fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT) > 0;
}

/* Until somebody kills it. */
static void test_nspawn_that_is_never_ready_is_waited_for(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .never_ready = true });
    const struct asked *start = driver_fixture_start(f, NULL);
    assert_true(event_run_until(f->event, has_main_pid, f));
    event_run_pending(f->event);
    assert_int_equal(start->n_answers, 0);
    assert_int_equal(driver_fixture_phase(f), TASK_PHASE_UNKNOWN);
    (void)kill(fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT), SIGKILL);
    driver_fixture_await(f, start);
    assert_int_equal(start->error, -EIO);
    assert_non_null(strstr(start->text, "signal 9"));
    driver_fixture_free(f);
}

static void test_a_unit_that_somebody_stops_while_it_starts(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .never_starts = true });
    const struct asked *start = driver_fixture_start(f, NULL);
    assert_true(event_run_until(f->event, has_main_pid, f));
    event_run_pending(f->event);
    fake_systemd_forget(f->systemd, DRIVER_FIXTURE_UNIT);
    fake_bus_name(f->fake, "org.freedesktop.systemd1", ":1.1", ":1.2");
    driver_fixture_await(f, start);
    assert_int_equal(start->error, -ECANCELED);
    assert_non_null(strstr(start->text, "somebody stopped the unit"));
    driver_fixture_free(f);
}

static void test_a_job_of_systemds_that_fails(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    event_run_pending(f->event);
    fake_systemd_end_jobs(f->systemd, "failed");
    expect_refused(f, NULL, -EIO, "systemd could not start");
    driver_fixture_free(f);
}

/* --- twice ----------------------------------------------------------------------------------- */

static void test_a_task_that_runs_is_not_started_again(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    expect_refused(f, NULL, -EEXIST, "is running already");
    driver_fixture_let_go(f, "0");
    driver_fixture_await(f, driver_fixture_wait(f));
    destroy(f);
}

static void test_a_start_clears_what_an_earlier_plugin_left(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    pid_t before = fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT);
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    assert_int_not_equal(fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT), before);
    driver_fixture_let_go(f, "5");
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_await(f, wait);
    assert_int_equal(wait->exit.exit_code, 5);
    destroy(f);
}

static void test_a_start_waits_for_the_bus(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    event_run_pending(f->event);
    fake_bus_vanish(f->fake);
    event_run_pending(f->event);
    const struct asked *start = driver_fixture_start(f, COMMAND("exit 0"));
    event_run_pending(f->event);
    assert_int_equal(start->n_answers, 0);
    fake_bus_appear(f->fake);
    driver_fixture_expect(f, start);
    driver_fixture_await(f, driver_fixture_wait(f));
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_process_starts_runs_ends_and_is_destroyed),
        FD_LEAK_TEST(test_output_of_both_streams_is_nomads_before_the_end_is_told),
        FD_LEAK_TEST(test_a_wait_is_answered_also_after_the_end),
        FD_LEAK_TEST(test_a_command_can_be_pid_1_itself),
        FD_LEAK_TEST(test_a_command_has_user_directory_and_environment),
        FD_LEAK_TEST(test_a_system_boots_and_is_shut_down_in_order),
        FD_LEAK_TEST(test_an_image_may_be_one_that_machined_knows),
        FD_LEAK_TEST(test_nomads_directories_and_volumes_are_inside),
        FD_LEAK_TEST(test_so_they_are_in_a_user_namespace),
        FD_LEAK_TEST(test_a_command_that_is_not_there_is_an_exit),
        FD_LEAK_TEST(test_so_it_is_as_pid_1),
        FD_LEAK_TEST(test_a_user_that_the_image_does_not_know_fails_the_start),
        FD_LEAK_TEST(test_a_directory_that_is_not_there_fails_the_start),
        FD_LEAK_TEST(test_an_image_that_is_not_there_fails_the_start),
        FD_LEAK_TEST(test_a_bind_of_nothing_fails_the_start),
        FD_LEAK_TEST(test_what_nspawn_says_is_why_the_start_failed),
        FD_LEAK_TEST(test_nspawn_that_ends_without_a_word_is_told_with_its_code),
        FD_LEAK_TEST(test_nspawn_that_is_never_ready_is_waited_for),
        FD_LEAK_TEST(test_a_unit_that_somebody_stops_while_it_starts),
        FD_LEAK_TEST(test_a_job_of_systemds_that_fails),
        FD_LEAK_TEST(test_a_task_that_runs_is_not_started_again),
        FD_LEAK_TEST(test_a_start_clears_what_an_earlier_plugin_left),
        FD_LEAK_TEST(test_a_start_waits_for_the_bus),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
