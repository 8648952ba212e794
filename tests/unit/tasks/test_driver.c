/* What is asked of tasks that are not there, and starts that are refused before anything is made. */
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
#include "tasks/driver.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/tasks/spec/pack.h"

#define ID "8a1f9c0e-0000-4000-8000-000000000001/web/0a1b2c3d"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct driver *driver;
    bool is_done;
    int error;
    bool recoverable;
    char *text;
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    int r = sd_event_new(&scene->event);
    assert_true(r >= 0);
    scene->fake = fake_bus_new(scene->event);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->driver = driver_new(scene->bus);
    return scene;
}

static void scene_free(struct scene *scene)
{
    driver_free(scene->driver);
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
    scene->is_done = true;
    free(scene->text);
    scene->text = NULL;
    scene->error = 0;
    if (fail == NULL)
        return;
    scene->error = fail->error;
    scene->recoverable = fail->recoverable;
    scene->text = alloc_strdup(fail_text(fail));
}

static void on_started(const struct task_started *started, const struct fail *fail, void *data)
{
    assert_true((started == NULL) == (fail != NULL));
    on_done(fail, data);
}

static void await_done(struct scene *scene)
{
    assert_false(scene->is_done);
    assert_true(event_run_until_set(scene->event, &scene->is_done));
    scene->is_done = false;
}

static struct task_spec make_spec(const char *config)
{
    struct packed packed = pack(config); /* its bytes become the spec's */

    return (struct task_spec){
        .config = packed.bytes,
        .config_bytes = packed.n_bytes,
        .id = alloc_strdup(ID),
        .name = alloc_strdup("web"),
        .alloc_id = alloc_strdup("8a1f9c0e-0000-4000-8000-000000000001"),
        .alloc_dir = alloc_strdup("/nonexistent"),
    };
}

static void start(struct scene *scene, const char *config)
{
    struct task_spec spec = make_spec(config);

    driver_start_task(scene->driver, &spec, on_started, scene);
    await_done(scene);
}

static void test_unknown_tasks_are_stopped_and_destroyed(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    driver_stop_task(scene->driver, ID, 1000000, "SIGTERM", on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    driver_destroy_task(scene->driver, ID, false, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    driver_destroy_task(scene->driver, "no such form", true, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, 0);
    scene_free(scene);
}

static void test_unknown_tasks_are_not_found(void **state)
{
    struct scene *scene = scene_new();
    struct task_waiter *waiter = NULL;
    struct stats_stream *stream = NULL;
    struct task_status status;
    struct fail fail = {};

    (void)state;
    assert_int_equal(driver_wait_task(scene->driver, ID, NULL, NULL, &waiter, &fail), -ENOENT);
    assert_string_equal(fail_text(&fail), "task not found for given id: '" ID "'");
    fail_done(&fail);
    assert_int_equal(driver_inspect_task(scene->driver, ID, &status, NULL), -ENOENT);
    assert_int_equal(driver_open_stats(scene->driver, ID, 0, NULL, NULL, &stream, NULL), -ENOENT);
    driver_signal_task(scene->driver, ID, "SIGHUP", on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, -ENOENT);
    scene_free(scene);
}

static void test_signals_that_are_none_are_refused(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    driver_stop_task(scene->driver, ID, 1000000, "SIGNONE", on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, -EINVAL);
    assert_non_null(strstr(scene->text, "kill_signal"));
    assert_non_null(strstr(scene->text, "SIGNONE"));
    scene_free(scene);
}

static void test_start_without_image_is_refused(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene, "{}");
    assert_int_equal(scene->error, -EINVAL);
    assert_false(scene->recoverable);
    assert_non_null(strstr(scene->text, "image"));
    scene_free(scene);
}

static void test_start_with_an_unknown_option_is_refused_by_name(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    start(scene, "{'imgae': '/srv/debian'}");
    assert_int_equal(scene->error, -EINVAL);
    assert_non_null(strstr(scene->text, "imgae"));
    scene_free(scene);
}

static void test_start_that_nobody_could_finish_is_told_so(void **state)
{
    struct scene *scene = scene_new();
    struct task_spec spec = make_spec("{'image': '/nonexistent'}");

    (void)state;
    fake_bus_vanish(scene->fake);
    driver_start_task(scene->driver, &spec, on_started, scene);
    event_run_pending(scene->event);
    assert_false(scene->is_done);
    scene->driver = driver_free(scene->driver);
    assert_true(scene->is_done);
    assert_int_equal(scene->error, -ECANCELED);
    scene_free(scene);
}

static void test_stop_of_a_start_is_answered_at_once_and_the_start_fails(void **state)
{
    struct scene *scene = scene_new();
    struct scene stopper = { .event = scene->event };
    struct task_spec spec = make_spec("{'image': '/nonexistent'}");

    (void)state;
    fake_bus_vanish(scene->fake); /* for which the start waits */
    driver_start_task(scene->driver, &spec, on_started, scene);
    event_run_pending(scene->event);
    driver_stop_task(scene->driver, ID, 60000000, "SIGTERM", on_done, &stopper);
    assert_false(scene->is_done);
    await_done(&stopper);
    assert_int_equal(stopper.error, 0);
    if (!scene->is_done)
        assert_true(event_run_until_set(scene->event, &scene->is_done));
    assert_int_equal(scene->error, -ECANCELED);
    assert_non_null(strstr(scene->text, "stopped while it started"));
    scene_free(scene);
}

static void test_recovery_of_nonsense_is_refused(void **state)
{
    struct scene *scene = scene_new();
    struct task_spec spec = make_spec("{}");

    (void)state;
    driver_recover_task(scene->driver, &spec, (const uint8_t *)"nonsense", 8, on_done, scene);
    await_done(scene);
    assert_int_equal(scene->error, -EINVAL);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_unknown_tasks_are_stopped_and_destroyed),
        FD_LEAK_TEST(test_unknown_tasks_are_not_found),
        FD_LEAK_TEST(test_signals_that_are_none_are_refused),
        FD_LEAK_TEST(test_start_without_image_is_refused),
        FD_LEAK_TEST(test_start_with_an_unknown_option_is_refused_by_name),
        FD_LEAK_TEST(test_start_that_nobody_could_finish_is_told_so),
        FD_LEAK_TEST(test_stop_of_a_start_is_answered_at_once_and_the_start_fails),
        FD_LEAK_TEST(test_recovery_of_nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
