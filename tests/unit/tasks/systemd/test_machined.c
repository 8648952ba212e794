#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/systemd/machined.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"

#define MACHINED "org.freedesktop.machine1"
#define OBJECT   "/org/freedesktop/machine1/object/x"
#define ERROR    "org.freedesktop.DBus.Error."

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct machined_op *op;
    /* What machined was asked, and what it answers. */
    char *name, *interface, *property;
    bool answers_wrong_object, answers_wrong_property;
    /* What came of it. */
    bool was_done;
    char *path;
    pid_t leader;
    struct fail fail;
};

static int on_object(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                     sd_bus_error *error, void *data)
{
    struct scene *scene = data;
    const char *name;

    (void)fake;
    (void)error;
    assert_string_equal(sd_bus_message_get_destination(call), MACHINED);
    assert_string_equal(sd_bus_message_get_path(call), "/org/freedesktop/machine1");
    assert_string_equal(sd_bus_message_get_interface(call), MACHINED ".Manager");
    assert_true(sd_bus_message_read(call, "s", &name) >= 0);
    free(scene->name);
    scene->name = alloc_strdup(name);
    return scene->answers_wrong_object ? sd_bus_message_append(reply, "s", "x")
                                       : sd_bus_message_append(reply, "o", OBJECT);
}

static int on_get(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                  sd_bus_error *error, void *data)
{
    struct scene *scene = data;
    const char *interface, *property;

    (void)fake;
    (void)error;
    assert_string_equal(sd_bus_message_get_path(call), OBJECT);
    assert_true(sd_bus_message_read(call, "ss", &interface, &property) >= 0);
    scene->interface = alloc_strdup(interface);
    scene->property = alloc_strdup(property);
    if (scene->answers_wrong_property)
        return sd_bus_message_append(reply, "v", "t", (uint64_t)7);
    if (strcmp(property, "Path") == 0)
        return sd_bus_message_append(reply, "v", "s", "/var/lib/machines/debian");
    return sd_bus_message_append(reply, "v", "u", (uint32_t)4711);
}

static bool is_up(void *data)
{
    const struct scene *scene = data;

    return bus_get(scene->bus) != NULL;
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "GetImage", on_object, scene);
    fake_bus_method(scene->fake, "GetMachine", on_object, scene);
    fake_bus_method(scene->fake, "Get", on_get, scene);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    assert_true(event_run_until(scene->event, is_up, scene));
    return scene;
}

static void scene_free(struct scene *scene)
{
    machined_op_free(scene->op);
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    fail_done(&scene->fail);
    free(scene->name);
    free(scene->interface);
    free(scene->property);
    free(scene->path);
    free(scene);
}

static void end(struct scene *scene, const struct fail *fail)
{
    assert_false(scene->was_done);
    scene->op = NULL;
    scene->was_done = true;
    if (fail != NULL)
        fail_copy(&scene->fail, fail);
}

static void on_image(const char *path, const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_true((path == NULL) == (fail != NULL));
    scene->path = alloc_strdup(path);
    end(scene, fail);
}

static void on_leader(pid_t leader, const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_true((leader == 0) == (fail != NULL));
    scene->leader = leader;
    end(scene, fail);
}

static void await_done(struct scene *scene)
{
    assert_false(scene->was_done);
    assert_true(event_run_until_set(scene->event, &scene->was_done));
    event_run_pending(scene->event); /* no second answer comes behind */
}

static void find_image(struct scene *scene)
{
    scene->op = machined_find_image(scene->bus, "debian", on_image, scene);
}

static void find_leader(struct scene *scene)
{
    scene->op = machined_find_leader(scene->bus, "web-1", on_leader, scene);
}

/* --- answers --------------------------------------------------------------------------------- */

static void test_image_is_a_path(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    find_image(scene);
    await_done(scene);
    assert_string_equal(scene->path, "/var/lib/machines/debian");
    assert_string_equal(scene->name, "debian");
    assert_string_equal(scene->interface, MACHINED ".Image");
    assert_string_equal(scene->property, "Path");
    assert_int_equal(fake_bus_n_calls(scene->fake, "GetImage"), 1);
    scene_free(scene);
}

static void test_machine_has_a_leader(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    find_leader(scene);
    await_done(scene);
    assert_int_equal(scene->leader, 4711);
    assert_string_equal(scene->name, "web-1");
    assert_string_equal(scene->interface, MACHINED ".Machine");
    assert_string_equal(scene->property, "Leader");
    assert_int_equal(fake_bus_n_calls(scene->fake, "GetMachine"), 1);
    scene_free(scene);
}

/* --- failures -------------------------------------------------------------------------------- */

static void expect_failure(struct scene *scene, bool recoverable, int error, const char *text)
{
    await_done(scene);
    assert_int_equal(scene->fail.recoverable, recoverable);
    expect_fail(scene->fail.error, &scene->fail, error, text);
}

static void test_unknown_names_are_told(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "GetImage", MACHINED ".NoSuchImage", "No image 'debian' known");
    find_image(scene);
    expect_failure(scene, false, -ENOENT, "machined knows no image 'debian'");
    scene_free(scene);

    scene = scene_new();
    fake_bus_refuse(scene->fake, "GetMachine", MACHINED ".NoSuchMachine", "No machine known");
    find_leader(scene);
    expect_failure(scene, false, -ENOENT, "machined knows no machine 'web-1'");
    scene_free(scene);
}

static void test_name_that_goes_between_the_questions_is_unknown(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "Get", MACHINED ".NoSuchMachine", "gone");
    find_leader(scene);
    expect_failure(scene, false, -ENOENT, "machined knows no machine 'web-1'");
    scene_free(scene);
}

static void test_other_errors_are_told_in_the_bus_s_words(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_refuse(scene->fake, "GetImage", ERROR "ServiceUnknown", "no such service");
    find_image(scene);
    expect_failure(scene, true, -EHOSTUNREACH,
                   "cannot ask machined about the image 'debian': no such service");
    scene_free(scene);

    scene = scene_new();
    fake_bus_refuse(scene->fake, "Get", ERROR "AccessDenied", "not you");
    find_leader(scene);
    expect_failure(scene, true, -EACCES, "cannot ask machined about the machine 'web-1': not you");
    scene_free(scene);
}

static void test_answers_of_the_wrong_kind_are_told(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->answers_wrong_object = true;
    find_image(scene);
    await_done(scene);
    expect_fail_with(scene->fail.error, &scene->fail, -ENXIO,
                     "machined's answer about 'debian' cannot be read");
    scene_free(scene);

    scene = scene_new();
    scene->answers_wrong_property = true;
    find_leader(scene);
    await_done(scene);
    expect_fail_with(scene->fail.error, &scene->fail, -ENXIO,
                     "machined's answer about 'web-1' cannot be read");
    scene_free(scene);
}

static unsigned run_with_failure(unsigned n)
{
    struct scene *scene = scene_new();

    fake_bus_fail_nth(scene->fake, n);
    unsigned before = fake_bus_n_calls(scene->fake, NULL);
    find_image(scene);
    await_done(scene);
    unsigned n_calls = fake_bus_n_calls(scene->fake, NULL) - before;
    if (n_calls < n) {
        assert_string_equal(scene->path, "/var/lib/machines/debian");
    } else {
        assert_null(scene->path);
        assert_true(scene->fail.recoverable);
    }
    scene_free(scene);
    return n_calls;
}

static void test_every_call_that_fails_is_told(void **state)
{
    (void)state;
    assert_int_equal(fake_bus_every_failure(run_with_failure), 2);
}

/* --- the bus goes ---------------------------------------------------------------------------- */

#define GONE "cannot ask machined about the image 'debian': the system bus is gone"

static void test_without_a_bus_nothing_is_asked(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_vanish(scene->fake);
    find_image(scene);
    expect_failure(scene, true, -ENOTCONN, GONE);
    scene_free(scene);
}

/* Held: the call has arrived and is never answered. */
static void test_bus_that_goes_meanwhile_ends_the_question_once(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_hold(scene->fake);
    find_image(scene);
    assert_true(fake_bus_await_calls(scene->fake, "GetImage", 1));
    assert_false(scene->was_done);
    fake_bus_vanish(scene->fake);
    await_done(scene);
    assert_true(scene->fail.recoverable);
    assert_true(scene->fail.error < 0);
    scene_free(scene);
}

static void test_freed_question_has_no_answer(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    find_image(scene);
    scene->op = machined_op_free(scene->op); /* before the question has left */
    event_run_pending(scene->event);
    assert_false(scene->was_done);
    fake_bus_hold(scene->fake);
    find_image(scene);
    assert_true(fake_bus_await_calls(scene->fake, "GetImage", 2));
    scene->op = machined_op_free(scene->op); /* between question and answer */
    fake_bus_release(scene->fake);
    event_run_pending(scene->event);
    assert_false(scene->was_done);
    assert_int_equal(fake_bus_n_calls(scene->fake, "Get"), 0);
    assert_null(machined_op_free(NULL));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_image_is_a_path),
        FD_LEAK_TEST(test_machine_has_a_leader),
        FD_LEAK_TEST(test_unknown_names_are_told),
        FD_LEAK_TEST(test_name_that_goes_between_the_questions_is_unknown),
        FD_LEAK_TEST(test_other_errors_are_told_in_the_bus_s_words),
        FD_LEAK_TEST(test_answers_of_the_wrong_kind_are_told),
        FD_LEAK_TEST(test_every_call_that_fails_is_told),
        FD_LEAK_TEST(test_without_a_bus_nothing_is_asked),
        FD_LEAK_TEST(test_bus_that_goes_meanwhile_ends_the_question_once),
        FD_LEAK_TEST(test_freed_question_has_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
