/* Calls to systemd that take long, fail, or lose their systemd on the way. */
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

#include "reactor/alloc.h"
#include "tasks/systemd/unit.h"
#include "tasks/systemd/unit_watch.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/tasks/systemd/fake_systemd.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define MANAGER SYSTEMD ".Manager"
#define JOB     "/org/freedesktop/systemd1/job/7"
#define UNIT    "nspawn-web.service"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct units *units;
    struct unit_op *op;
    bool is_done;
    int error;
    char *text;
    /* What systemd answers about the unit, and what the watch said last. */
    const char *load_state;
    uint32_t main_pid;
    struct unit_state seen;
    bool was_told;
};

static int on_job(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                  sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)error, (void)data;
    return sd_bus_message_append(reply, "o", JOB);
}

static int on_nothing(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)reply, (void)error, (void)data;
    return 0;
}

static int on_get_all(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error, void *data)
{
    (void)fake, (void)error;
    const struct scene *scene = data;
    const char *interface;

    int r = sd_bus_message_read(call, "s", &interface);
    if (r < 0)
        return r;
    if (strcmp(interface, SYSTEMD ".Unit") == 0)
        return sd_bus_message_append(reply, "a{sv}", 2, "LoadState", "s", scene->load_state,
                                     "ActiveState", "s", "active");
    return sd_bus_message_append(reply, "a{sv}", 1, "MainPID", "u", scene->main_pid);
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    scene->load_state = "loaded";
    scene->main_pid = 42;
    int r = sd_event_new(&scene->event);
    assert_true(r >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "Subscribe", on_nothing, NULL);
    fake_bus_method(scene->fake, "StartTransientUnit", on_job, NULL);
    fake_bus_method(scene->fake, "StopUnit", on_job, NULL);
    fake_bus_method(scene->fake, "ResetFailedUnit", on_nothing, NULL);
    fake_bus_method(scene->fake, "KillUnit", on_nothing, NULL);
    fake_bus_method(scene->fake, "GetAll", on_get_all, scene);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->units = units_new(scene->bus);
    return scene;
}

static void scene_free(struct scene *scene)
{
    unit_op_free(scene->op);
    units_free(scene->units);
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    free(scene->text);
    free(scene);
}

static void on_done(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_false(scene->is_done);
    scene->op = NULL;
    scene->is_done = true;
    scene->error = fail != NULL ? fail->error : 0;
    scene->text = fail != NULL ? alloc_strdup(fail_text(fail)) : NULL;
}

static void start(struct scene *scene)
{
    struct strv argv = {};

    strv_push(&argv, "/usr/bin/systemd-nspawn");
    scene->op = unit_start(scene->units,
                           &(const struct unit_service){
                                   .name = UNIT,
                                   .description = "Nomad task",
                                   .slice = "nspawn-1.slice",
                                   .argv = &argv,
                                   .stdout_fd = -EBADF,
                                   .stderr_fd = -EBADF,
                           },
                           on_done, scene);
    strv_done(&argv);
}

static void await_call(struct scene *scene, const char *member, unsigned n)
{
    assert_true(fake_bus_await_calls(scene->fake, member, n));
}

static void remove_job(struct scene *scene, const char *result)
{
    fake_bus_signal(scene->fake, ":1.1", "/org/freedesktop/systemd1", MANAGER, "JobRemoved", "uoss",
                    7, JOB, UNIT, result);
}

static void await_done(struct scene *scene)
{
    assert_true(event_run_until_set(scene->event, &scene->is_done));
}

static void test_start_is_done_with_its_job(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene);
    await_call(scene, "StartTransientUnit", 1);
    event_run_pending(scene->event);
    assert_false(scene->is_done);
    remove_job(scene, "done");
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_start_fails_with_its_job(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene);
    await_call(scene, "StartTransientUnit", 1);
    event_run_pending(scene->event);
    remove_job(scene, "failed");
    await_done(scene);
    assert_int_equal(scene->error, -EIO);
    assert_string_equal(scene->text, "systemd could not start '" UNIT "': job failed");
    scene_free(scene);
}

static void test_start_of_a_name_in_use_is_refused(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "StartTransientUnit", SYSTEMD ".UnitExists", "Unit exists");
    start(scene);
    await_done(scene);
    assert_int_equal(scene->error, -EEXIST);
    assert_string_equal(scene->text, "the unit '" UNIT "' exists already");
    scene_free(scene);
}

static void test_start_waits_for_the_bus(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_vanish(scene->fake);
    start(scene);
    event_run_pending(scene->event);
    assert_false(scene->is_done);
    fake_bus_appear(scene->fake);
    await_call(scene, "StartTransientUnit", 1);
    event_run_pending(scene->event);
    remove_job(scene, "done");
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_start_lost_with_the_bus_counts_when_it_was_done(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene);
    await_call(scene, "StartTransientUnit", 1);
    event_run_pending(scene->event);
    fake_bus_vanish(scene->fake);
    event_run_pending(scene->event);
    fake_bus_refuse(scene->fake, "StartTransientUnit", SYSTEMD ".UnitExists", "Unit exists");
    fake_bus_appear(scene->fake);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_stop_lost_in_a_reexecution_is_asked_again(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->op = unit_stop(scene->units, UNIT, on_done, scene);
    await_call(scene, "StopUnit", 1);
    event_run_pending(scene->event);
    fake_bus_name(scene->fake, SYSTEMD, ":1.1", "");
    event_run_pending(scene->event);
    assert_int_equal(fake_bus_n_calls(scene->fake, "StopUnit"), 1);
    fake_bus_name(scene->fake, SYSTEMD, "", ":1.9");
    await_call(scene, "StopUnit", 2);
    assert_int_equal(fake_bus_n_calls(scene->fake, "Subscribe"), 2);
    event_run_pending(scene->event);
    remove_job(scene, "done");
    await_done(scene);
    assert_int_equal(scene->error, 0);
    assert_int_equal(fake_bus_n_calls(scene->fake, "ResetFailedUnit"), 1);
    scene_free(scene);
}

static bool has_asked_twice(void *data)
{
    return fake_bus_n_held(data) >= 2;
}

/* A systemd that hangs on a file system, or was stopped by a debugger. */
static void test_a_call_that_is_not_answered_in_time_is_made_again(void **state)
{
    (void)state;
    /* sd-bus reads it once a connection. */
    assert_int_equal(setenv("SYSTEMD_BUS_TIMEOUT", "50ms", 1), 0);
    struct scene *scene = scene_new();
    await_call(scene, "Subscribe", 1);
    fake_bus_hold(scene->fake);
    scene->op = unit_kill(scene->units, UNIT, "main", SIGTERM, on_done, scene);
    assert_true(event_run_until(scene->event, has_asked_twice, scene->fake));
    fake_bus_release(scene->fake);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    assert_true(fake_bus_n_calls(scene->fake, "KillUnit") >= 2);
    scene_free(scene);
    assert_int_equal(unsetenv("SYSTEMD_BUS_TIMEOUT"), 0);
}

static void test_stop_of_what_is_not_loaded_is_done(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "StopUnit", SYSTEMD ".NoSuchUnit", "Unit not loaded");
    scene->op = unit_stop(scene->units, UNIT, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_stop_forgets_what_failed(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "ResetFailedUnit", SYSTEMD ".NoSuchUnit", "Unit not loaded");
    scene->op = unit_stop(scene->units, UNIT, on_done, scene);
    await_call(scene, "StopUnit", 1);
    event_run_pending(scene->event);
    remove_job(scene, "done");
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_kill_of_what_has_ended_is_done(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "KillUnit", SYSTEMD ".NoSuchProcess", "No process to kill");
    scene->op = unit_kill(scene->units, UNIT, "all", SIGKILL, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_kill_that_is_refused_says_so(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "KillUnit", "org.freedesktop.DBus.Error.AccessDenied", "Not you");
    scene->op = unit_kill(scene->units, UNIT, "all", SIGKILL, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, -EACCES);
    assert_string_equal(scene->text, "systemd on '" UNIT "': Not you");
    scene_free(scene);
}

static void test_an_op_that_is_freed_says_nothing(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene);
    await_call(scene, "StartTransientUnit", 1);
    scene->op = unit_op_free(scene->op);
    remove_job(scene, "done");
    event_run_pending(scene->event);
    assert_false(scene->is_done);
    scene_free(scene);
}

/* --- every failure --------------------------------------------------------------------------- */

static void await_and_forget(struct scene *scene)
{
    await_done(scene);
    scene->is_done = false;
    free(scene->text);
    scene->text = NULL;
}

/* Start, kill and stop: each ends once, and what it says is true. */
static unsigned run_with_failure(unsigned n)
{
    struct scene *scene = scene_new();
    struct fake_systemd *systemd = fake_systemd_new(scene->fake, scene->event);

    fake_bus_fail_nth(scene->fake, n);
    start(scene);
    await_and_forget(scene);
    assert_int_equal(scene->error == 0, fake_systemd_has_unit(systemd, UNIT));
    scene->op = unit_kill(scene->units, UNIT, "all", SIGTERM, on_done, scene);
    await_and_forget(scene);
    scene->op = unit_stop(scene->units, UNIT, on_done, scene);
    await_and_forget(scene);
    unsigned n_calls = fake_bus_n_calls(scene->fake, NULL);
    assert_true(scene->error < 0 || !fake_systemd_has_unit(systemd, UNIT));
    if (scene->error < 0) { /* asked again, it is stopped */
        scene->op = unit_stop(scene->units, UNIT, on_done, scene);
        await_and_forget(scene);
    }
    assert_int_equal(scene->error, 0);
    assert_int_equal(fake_systemd_n_units(systemd), 0);
    fake_systemd_free(systemd);
    scene_free(scene);
    return n_calls;
}

static void test_ops_end_once_whatever_call_fails(void **state)
{
    (void)state;
    assert_in_range(fake_bus_every_failure(run_with_failure), 5, 20);
}

/* --- watch ----------------------------------------------------------------------------------- */

static void on_unit(const struct unit_state *unit, void *data)
{
    struct scene *scene = data;

    scene->seen = *unit;
    scene->was_told = true;
}

static void await_told(struct scene *scene)
{
    assert_true(event_run_until_set(scene->event, &scene->was_told));
    scene->was_told = false;
}

static void test_watch_reads_again_after_a_reexecution(void **state)
{
    struct scene *scene = scene_new();
    struct unit_watch *watch = unit_watch_new(scene->bus, UNIT, on_unit, scene);

    (void)state;
    await_told(scene);
    assert_true(scene->seen.loaded);
    assert_int_equal(scene->seen.main_pid, 42);
    scene->load_state = "not-found";
    scene->main_pid = 0;
    fake_bus_name(scene->fake, SYSTEMD, ":1.1", ":1.9");
    await_told(scene);
    assert_false(scene->seen.loaded);
    unit_watch_free(watch);
    scene_free(scene);
}

static void test_watch_hears_the_end(void **state)
{
    struct scene *scene = scene_new();
    struct unit_watch *watch = unit_watch_new(scene->bus, UNIT, on_unit, scene);

    (void)state;
    await_told(scene);
    assert_false(unit_state_has_ended(&scene->seen));
    fake_bus_signal(scene->fake, ":1.1", "/org/freedesktop/systemd1/unit/nspawn_2dweb_2eservice",
                    "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as",
                    SYSTEMD ".Service", 4, "MainPID", "u", 0, "ExecMainCode", "i", CLD_EXITED,
                    "ExecMainStatus", "i", 7, "Result", "s", "success", 0);
    await_told(scene);
    assert_true(unit_state_has_ended(&scene->seen));
    assert_int_equal(scene->seen.exit_status, 7);
    unit_watch_free(watch);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_start_is_done_with_its_job),
        FD_LEAK_TEST(test_start_fails_with_its_job),
        FD_LEAK_TEST(test_start_of_a_name_in_use_is_refused),
        FD_LEAK_TEST(test_start_waits_for_the_bus),
        FD_LEAK_TEST(test_start_lost_with_the_bus_counts_when_it_was_done),
        FD_LEAK_TEST(test_stop_lost_in_a_reexecution_is_asked_again),
        FD_LEAK_TEST(test_a_call_that_is_not_answered_in_time_is_made_again),
        FD_LEAK_TEST(test_stop_of_what_is_not_loaded_is_done),
        FD_LEAK_TEST(test_stop_forgets_what_failed),
        FD_LEAK_TEST(test_kill_of_what_has_ended_is_done),
        FD_LEAK_TEST(test_kill_that_is_refused_says_so),
        FD_LEAK_TEST(test_an_op_that_is_freed_says_nothing),
        FD_LEAK_TEST(test_ops_end_once_whatever_call_fails),
        FD_LEAK_TEST(test_watch_reads_again_after_a_reexecution),
        FD_LEAK_TEST(test_watch_hears_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
