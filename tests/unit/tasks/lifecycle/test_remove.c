/* Removal: of tasks that run, that have ended, and of what nobody knows any more. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
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

static struct driver_fixture *start(const char *options)
{
    struct driver_fixture *f = driver_fixture_new();

    driver_fixture_expect(f, driver_fixture_start(f, options));
    return f;
}

static void restart(struct driver_fixture *f)
{
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
}

static void test_a_task_that_runs_is_destroyed_only_by_force(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    const struct asked *refused = driver_fixture_destroy(f, false);
    driver_fixture_await(f, refused);
    assert_int_equal(refused->error, -EBUSY);
    assert_non_null(strstr(refused->text, "is running: stop it first, or force"));
    const struct asked *wait = driver_fixture_wait(f);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_await(f, wait);
    driver_fixture_free(f);
}

static void test_who_waits_for_a_task_hears_before_it_is_removed(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    const struct asked *destroy = driver_fixture_destroy(f, false), *wait = driver_fixture_wait(f);
    driver_fixture_expect(f, destroy);
    assert_int_equal(wait->n_answers, 1);
    assert_int_equal(wait->exit.exit_code, 3);
    driver_fixture_free(f);
}

static void test_a_task_that_no_plugin_knows_is_killed_and_removed(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    restart(f);
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

static void test_a_system_that_no_plugin_knows_is_removed_too(void **state)
{
    struct driver_fixture *f = start("'boot': true, 'console': 'pipe'");

    (void)state;
    assert_true(driver_fixture_await_output(f, EXEC_STDOUT, "the system is up"));
    restart(f);
    driver_fixture_expect(f, driver_fixture_destroy(f, false));
    driver_fixture_free(f);
}

static void make_copy(const struct driver_fixture *f, char **ret_path)
{
    *ret_path = alloc_printf("%s/.#machine.image0123456789abcdef", f->dir);
    assert_int_equal(mkdir(*ret_path, 0755), 0);
    CLEANUP_FREE char *below = scratch_dir_path(*ret_path, "etc");
    assert_int_equal(mkdir(below, 0755), 0);
}

/* nspawn removes its copy itself unless it is killed. */
static void test_a_copy_that_nspawn_left_is_removed(void **state)
{
    struct driver_fixture *f = start("'ephemeral': true, " DRIVER_FIXTURE_WAITS);
    CLEANUP_FREE char *copy = NULL;

    (void)state;
    make_copy(f, &copy);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_int_equal(access(copy, F_OK), -1);
    driver_fixture_free(f);
}

static void test_a_copy_of_an_image_that_is_not_ephemeral_is_not_ours(void **state)
{
    struct driver_fixture *f = start(NULL);
    CLEANUP_FREE char *copy = NULL;

    (void)state;
    make_copy(f, &copy);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_int_equal(access(copy, F_OK), 0);
    driver_fixture_free(f);
}

static void other_id(struct task_spec *spec, struct driver_fixture *f)
{
    (void)f;
    free(spec->id);
    spec->id = alloc_strdup(DRIVER_FIXTURE_ALLOC "/web/ffffffff");
}

/* The same task, started again: Nomad destroys the older one when the newer one runs. */
static void test_a_later_start_of_the_same_task_is_not_destroyed(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    f->prepare = other_id;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_true(fake_systemd_has_unit(f->systemd, DRIVER_FIXTURE_UNIT));
    restart(f); /* nor when no plugin knows it */
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_true(fake_systemd_has_unit(f->systemd, DRIVER_FIXTURE_UNIT));
    /* A start clears it away, and is of the other id. */
    f->prepare = NULL;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_free(f);
}

static void test_a_machine_of_another_start_is_not_started_over(void **state)
{
    struct driver_fixture *f = driver_fixture_new();

    (void)state;
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    f->prepare = other_id;
    const struct asked *second = driver_fixture_start(f, NULL);
    driver_fixture_await(f, second);
    assert_int_equal(second->error, -EEXIST);
    assert_true(second->is_recoverable);
    assert_non_null(strstr(second->text, "is still that of task"));
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    driver_fixture_free(f);
}

static void test_two_destroys_are_both_answered(void **state)
{
    struct driver_fixture *f = start(NULL);

    (void)state;
    const struct asked *first = driver_fixture_destroy(f, true);
    const struct asked *second = driver_fixture_destroy(f, true);
    driver_fixture_expect(f, first);
    driver_fixture_expect(f, second);
    driver_fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_task_that_runs_is_destroyed_only_by_force),
        FD_LEAK_TEST(test_who_waits_for_a_task_hears_before_it_is_removed),
        FD_LEAK_TEST(test_a_task_that_no_plugin_knows_is_killed_and_removed),
        FD_LEAK_TEST(test_a_system_that_no_plugin_knows_is_removed_too),
        FD_LEAK_TEST(test_a_copy_that_nspawn_left_is_removed),
        FD_LEAK_TEST(test_a_copy_of_an_image_that_is_not_ephemeral_is_not_ours),
        FD_LEAK_TEST(test_a_later_start_of_the_same_task_is_not_destroyed),
        FD_LEAK_TEST(test_a_machine_of_another_start_is_not_started_over),
        FD_LEAK_TEST(test_two_destroys_are_both_answered),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
