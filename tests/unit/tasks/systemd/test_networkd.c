#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/systemd/networkd.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"
#include "tests/support/reactor/fake_bus.h"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct networkd_op *op;
    bool is_running; /* what the bus says of it */
    bool was_done, runs;
};

static int on_get(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                  sd_bus_error *error, void *data)
{
    const struct scene *scene = data;
    const char *interface, *property;

    (void)fake;
    (void)error;
    assert_string_equal(sd_bus_message_get_path(call),
                        "/org/freedesktop/systemd1/unit/systemd_2dnetworkd_2eservice");
    assert_true(sd_bus_message_read(call, "ss", &interface, &property) >= 0);
    assert_string_equal(interface, "org.freedesktop.systemd1.Unit");
    assert_string_equal(property, "ActiveState");
    return sd_bus_message_append(reply, "v", "s", scene->is_running ? "active" : "inactive");
}

static int on_reload(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                     sd_bus_error *error, void *data)
{
    (void)fake;
    (void)reply;
    (void)error;
    (void)data;
    assert_string_equal(sd_bus_message_get_destination(call), "org.freedesktop.network1");
    assert_string_equal(sd_bus_message_get_path(call), "/org/freedesktop/network1");
    assert_string_equal(sd_bus_message_get_interface(call), "org.freedesktop.network1.Manager");
    return 0;
}

static bool is_up(void *data)
{
    const struct scene *scene = data;

    return bus_get(scene->bus) != NULL;
}

static bool is_down(void *data)
{
    return !is_up(data);
}

static void scene_init(struct scene *scene, bool is_running)
{
    *scene = (struct scene){ .is_running = is_running };
    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "Get", on_get, scene);
    fake_bus_method(scene->fake, "Reload", on_reload, scene);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    assert_true(event_run_until(scene->event, is_up, scene));
}

static void scene_done(struct scene *scene)
{
    scene->op = networkd_op_free(scene->op);
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
}

#define CLEANUP_SCENE CLEANUP(scene_done)

static void on_done(bool runs, void *data)
{
    struct scene *scene = data;

    assert_false(scene->was_done);
    scene->was_done = true;
    scene->op = NULL;
    scene->runs = runs;
}

static void ask(struct scene *scene)
{
    scene->op = networkd_ask(scene->bus, on_done, scene);
    assert_false(scene->was_done);
}

static void reload(struct scene *scene)
{
    scene->op = networkd_reload(scene->bus, on_done, scene);
    assert_false(scene->was_done);
}

static void expect_answer(struct scene *scene, bool runs)
{
    assert_true(event_run_until_set(scene->event, &scene->was_done));
    assert_int_equal(scene->runs, runs);
    event_run_pending(scene->event); /* nothing more */
}

/* --- asking ---------------------------------------------------------------------------------- */

static void test_whether_it_runs_is_what_the_bus_says(void **state)
{
    (void)state;
    for (unsigned is_running = 0; is_running < 2; is_running++) {
        CLEANUP_SCENE struct scene scene;
        scene_init(&scene, is_running != 0);
        ask(&scene);
        expect_answer(&scene, is_running != 0);
        assert_int_equal(fake_bus_n_calls(scene.fake, "Reload"), 0);
    }
}

static void test_a_bus_that_cannot_say_means_no(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    fake_bus_refuse(scene.fake, "Get", "org.freedesktop.DBus.Error.AccessDenied", "no");
    ask(&scene);
    expect_answer(&scene, false);
}

static void test_without_a_bus_the_answer_is_no(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    fake_bus_vanish(scene.fake);
    assert_true(event_run_until(scene.event, is_down, &scene));
    ask(&scene);
    expect_answer(&scene, false);
}

static void test_a_bus_that_goes_meanwhile_means_no(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    fake_bus_hold(scene.fake);
    ask(&scene);
    assert_true(fake_bus_await_calls(scene.fake, "Get", 1));
    assert_false(scene.was_done);
    fake_bus_vanish(scene.fake);
    expect_answer(&scene, false);
}

static void test_who_has_gone_is_not_answered(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    ask(&scene);
    scene.op = networkd_op_free(scene.op);
    event_run_pending(scene.event);
    fake_bus_hold(scene.fake);
    ask(&scene);
    assert_true(fake_bus_await_calls(scene.fake, "Get", 1));
    scene.op = networkd_op_free(scene.op);
    fake_bus_release(scene.fake);
    event_run_pending(scene.event);
    assert_false(scene.was_done);
}

/* --- reloading ------------------------------------------------------------------------------- */

static void test_one_that_runs_is_reloaded(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    reload(&scene);
    expect_answer(&scene, true);
    assert_int_equal(fake_bus_n_calls(scene.fake, "Reload"), 1);
}

/* The bus would start it for the call. */
static void test_one_that_does_not_run_is_left_alone(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, false);
    reload(&scene);
    expect_answer(&scene, false);
    assert_int_equal(fake_bus_n_calls(scene.fake, "Reload"), 0);
}

static void test_a_refused_reload_is_lived_with(void **state)
{
    CLEANUP_SCENE struct scene scene;

    (void)state;
    scene_init(&scene, true);
    fake_bus_refuse(scene.fake, "Reload", "org.freedesktop.DBus.Error.AccessDenied", "no");
    reload(&scene);
    expect_answer(&scene, true);
}

static unsigned reload_with_failure(unsigned n)
{
    CLEANUP_SCENE struct scene scene;

    scene_init(&scene, true);
    unsigned n_before = fake_bus_n_calls(scene.fake, NULL);
    fake_bus_fail_nth(scene.fake, n);
    reload(&scene);
    assert_true(event_run_until_set(scene.event, &scene.was_done));
    return fake_bus_n_calls(scene.fake, NULL) - n_before;
}

static void test_every_failure_of_the_bus_is_answered(void **state)
{
    (void)state;
    assert_int_equal(fake_bus_every_failure(reload_with_failure), 2);
}

/* --- the file -------------------------------------------------------------------------------- */

static void expect_file(const char *text)
{
    char is[4096] = {};
    CLEANUP_CLOSE int fd = open(NETWORKD_FILE, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_true(read(fd, is, sizeof(is) - 1) >= 0);
    assert_string_equal(is, text);
}

static void test_links_are_taken_from_it_by_a_file(void **state)
{
    CLEANUP(strv_done) struct strv names = {};
    struct stat before, after;

    (void)state;
    assert_int_equal(mkdir("/run/systemd", 0755), 0);
    strv_push(&names, "nn-*");
    assert_int_equal(networkd_disown(&names), 1);
    expect_file("# Written by nomad-driver-nspawn, whose links these are.\n"
                "[Match]\nName=nn-*\n\n[Link]\nUnmanaged=yes\n");
    assert_int_equal(stat(NETWORKD_FILE, &before), 0);
    assert_int_equal(before.st_mode & 07777, 0644); /* it runs as a user of its own */
    assert_int_equal(networkd_disown(&names), 0);
    assert_int_equal(stat(NETWORKD_FILE, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    strv_push(&names, "vz-web");
    assert_int_equal(networkd_disown(&names), 1);
    expect_file("# Written by nomad-driver-nspawn, whose links these are.\n"
                "[Match]\nName=nn-* vz-web\n\n[Link]\nUnmanaged=yes\n");
    strv_done(&names);
    names = (struct strv){};
    strv_push(&names, "nn-*");
    assert_int_equal(networkd_disown(&names), 1);
    expect_file("# Written by nomad-driver-nspawn, whose links these are.\n"
                "[Match]\nName=nn-*\n\n[Link]\nUnmanaged=yes\n");
}

static void test_a_file_that_cannot_be_written_is_told(void **state)
{
    CLEANUP(strv_done) struct strv names = {};

    (void)state;
    strv_push(&names, "other-*");
    assert_int_equal(unlink(NETWORKD_FILE), 0);
    assert_int_equal(mkdir(NETWORKD_FILE, 0755), 0);
    assert_int_equal(networkd_disown(&names), -EISDIR);
    assert_int_equal(rmdir(NETWORKD_FILE), 0);
    assert_int_equal(rmdir(NETWORKD_DIR), 0);
    assert_int_equal(rmdir("/run/systemd"), 0);
    assert_int_equal(networkd_disown(&names), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_whether_it_runs_is_what_the_bus_says),
        FD_LEAK_TEST(test_a_bus_that_cannot_say_means_no),
        FD_LEAK_TEST(test_without_a_bus_the_answer_is_no),
        FD_LEAK_TEST(test_a_bus_that_goes_meanwhile_means_no),
        FD_LEAK_TEST(test_who_has_gone_is_not_answered),
        FD_LEAK_TEST(test_one_that_runs_is_reloaded),
        FD_LEAK_TEST(test_one_that_does_not_run_is_left_alone),
        FD_LEAK_TEST(test_a_refused_reload_is_lived_with),
        FD_LEAK_TEST(test_every_failure_of_the_bus_is_answered),
    };
    const struct CMUnitTest file_tests[] = {
        FD_LEAK_TEST(test_links_are_taken_from_it_by_a_file),
        FD_LEAK_TEST(test_a_file_that_cannot_be_written_is_told),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);

    return n_failed + cmocka_run_group_tests(file_tests, private_run_or_skip, NULL);
}
