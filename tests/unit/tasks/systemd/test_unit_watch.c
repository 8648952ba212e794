#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/systemd/unit_watch.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"

#define SYSTEMD    "org.freedesktop.systemd1"
#define UNIT       SYSTEMD ".Unit"
#define SERVICE    SYSTEMD ".Service"
#define PATH       "/org/freedesktop/systemd1/unit/nspawn_2dweb_2eservice"
#define PROPERTIES "org.freedesktop.DBus.Properties"

static const uint8_t invocation[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                        0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10 };

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct unit_watch *watch;
    /* What systemd answers. */
    const char *load_state, *active_state;
    size_t n_invocation_bytes;
    uint32_t main_pid;
    bool answers_wrong_types;
    bool changes_meanwhile; /* another pid is signalled right before each answer */
    /* What was told. */
    unsigned n_told;
    struct unit_state seen;
    bool frees_itself;
};

static void signal_main_pid(struct scene *scene, const char *path, uint32_t pid)
{
    fake_bus_signal(scene->fake, ":1.1", path, PROPERTIES, "PropertiesChanged", "sa{sv}as", SERVICE,
                    1, "MainPID", "u", pid, 0);
}

static int append_unit(const struct scene *scene, sd_bus_message *reply)
{
    int r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "Following", "s", "", "LoadState", "s",
                                  scene->load_state, "ActiveState", "s", scene->active_state);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", "InvocationID");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "ay");
    if (r >= 0)
        r = sd_bus_message_append_array(reply, 'y', invocation, scene->n_invocation_bytes);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int on_get_all(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error, void *data)
{
    struct scene *scene = data;
    const char *interface;

    (void)fake;
    (void)error;
    assert_string_equal(sd_bus_message_get_path(call), PATH);
    assert_true(sd_bus_message_read(call, "s", &interface) >= 0);
    if (scene->changes_meanwhile)
        signal_main_pid(scene, PATH, 41);
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");
    if (r >= 0 && scene->answers_wrong_types)
        r = sd_bus_message_append(reply, "{sv}{sv}", "MainPID", "s", "7", "LoadState", "u",
                                  (uint32_t)7);
    else if (r >= 0 && strcmp(interface, UNIT) == 0)
        r = append_unit(scene, reply);
    else if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "MainPID", "u", scene->main_pid,
                                  "ExecMainStartTimestamp", "t", (uint64_t)1000, "Result", "s",
                                  "success");
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void on_unit(const struct unit_state *state, void *data)
{
    struct scene *scene = data;

    scene->seen = *state;
    scene->n_told++;
    if (scene->frees_itself)
        scene->watch = unit_watch_free(scene->watch);
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    scene->load_state = "loaded";
    scene->active_state = "active";
    scene->n_invocation_bytes = 16;
    scene->main_pid = 42;
    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "GetAll", on_get_all, scene);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->watch = unit_watch_new(scene->bus, "nspawn-web.service", on_unit, scene);
    return scene;
}

static void scene_free(struct scene *scene)
{
    unit_watch_free(scene->watch);
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    free(scene);
}

struct told {
    const struct scene *scene;
    unsigned n;
};

static bool were_told(void *data)
{
    const struct told *told = data;

    return told->scene->n_told >= told->n;
}

/* Waits for one more, and that it is only one. */
static void await_told(struct scene *scene)
{
    struct told told = { scene, scene->n_told + 1 };

    assert_true(event_run_until(scene->event, were_told, &told));
    event_run_pending(scene->event);
    assert_int_equal(scene->n_told, told.n);
}

static void expect_silence(struct scene *scene)
{
    unsigned before = scene->n_told;

    (void)event_count_during(scene->event, 20000);
    assert_int_equal(scene->n_told, before);
}

/* --- reading --------------------------------------------------------------------------------- */

static void test_state_is_told_once_and_whole(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    assert_int_equal(scene->n_told, 0);
    await_told(scene);
    assert_true(scene->seen.loaded && scene->seen.is_active);
    assert_int_equal(scene->seen.main_pid, 42);
    assert_string_equal(scene->seen.invocation_id, "0123456789abcdeffedcba9876543210");
    assert_string_equal(scene->seen.result, "success");
    assert_true(scene->seen.started_usec == 1000 && scene->seen.exited_usec == 0);
    assert_false(unit_state_has_ended(&scene->seen));
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    scene_free(scene);
}

static void test_unit_that_is_not_there_is_told(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->load_state = "not-found";
    scene->active_state = "inactive";
    scene->n_invocation_bytes = 0;
    scene->main_pid = 0;
    await_told(scene);
    assert_false(scene->seen.loaded || scene->seen.is_active);
    assert_string_equal(scene->seen.invocation_id, "");
    assert_false(unit_state_has_ended(&scene->seen));
    scene_free(scene);
}

static void test_every_active_state_is_active_or_not(void **state)
{
    static const struct {
        const char *state;
        bool is_active;
    } states[] = { { "active", true },       { "reloading", true }, { "activating", true },
                   { "deactivating", true }, { "inactive", false }, { "failed", false } };

    (void)state;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        struct scene *scene = scene_new();
        scene->active_state = states[i].state;
        await_told(scene);
        assert_int_equal(scene->seen.is_active, states[i].is_active);
        scene_free(scene);
    }
}

static void test_invocation_id_of_another_length_is_none(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->n_invocation_bytes = 15;
    await_told(scene);
    assert_string_equal(scene->seen.invocation_id, "");
    scene_free(scene);
}

static void test_refresh_tells_again(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    scene->main_pid = 43;
    unit_watch_refresh(scene->watch);
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 43);
    scene->main_pid = 44;
    unit_watch_refresh(scene->watch);
    unit_watch_refresh(scene->watch); /* in place of the first */
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 44);
    scene_free(scene);
}

/* --- changes --------------------------------------------------------------------------------- */

static void test_every_change_is_told(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    signal_main_pid(scene, PATH, 0);
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 0);
    assert_false(unit_state_has_ended(&scene->seen));
    fake_bus_signal(scene->fake, ":1.1", PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", SERVICE,
                    5, "ExecMainCode", "i", CLD_KILLED, "ExecMainStatus", "i", SIGKILL,
                    "ExecMainExitTimestamp", "t", (uint64_t)2000, "Result", "s", "oom-kill",
                    "Unknown", "(su)", "x", (uint32_t)1, 0);
    await_told(scene);
    assert_true(unit_state_has_ended(&scene->seen));
    assert_int_equal(scene->seen.exit_code, CLD_KILLED);
    assert_int_equal(scene->seen.exit_status, SIGKILL);
    assert_true(scene->seen.exited_usec == 2000);
    assert_string_equal(scene->seen.result, "oom-kill");
    /* What was not said again is as before. */
    assert_string_equal(scene->seen.invocation_id, "0123456789abcdeffedcba9876543210");
    scene_free(scene);
}

static void test_changes_of_other_units_are_not_heard(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    signal_main_pid(scene, "/org/freedesktop/systemd1/unit/nspawn_2dother_2eservice", 0);
    expect_silence(scene);
    assert_true(fake_bus_has_match(scene->fake, PATH));
    scene_free(scene);
}

static void test_result_that_is_too_long_is_cut(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    fake_bus_signal(scene->fake, ":1.1", PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", SERVICE,
                    1, "Result", "s", "0123456789012345678901234567890123456789", 0);
    await_told(scene);
    assert_string_equal(scene->seen.result, "0123456789012345678901234567890");
    scene_free(scene);
}

static void test_change_of_the_wrong_kind_is_passed_over(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    fake_bus_signal(scene->fake, ":1.1", PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", SERVICE,
                    1, "MainPID", "s", "none", 0);
    fake_bus_signal(scene->fake, ":1.1", PATH, PROPERTIES, "PropertiesChanged", "u", (uint32_t)7);
    fake_bus_signal(scene->fake, ":1.1", PATH, PROPERTIES, "PropertiesChanged", "");
    expect_silence(scene);
    signal_main_pid(scene, PATH, 44);
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 44);
    scene_free(scene);
}

/* A change that is heard while the state is being read is not all there is to know: a recovery would
 * take the missing invocation id for another one. */
static void test_nothing_is_told_by_halves(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->changes_meanwhile = true;
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 42);
    assert_string_equal(scene->seen.invocation_id, "0123456789abcdeffedcba9876543210");
    scene_free(scene);
}

/* --- failures -------------------------------------------------------------------------------- */

#define CALLS_OF_A_WATCH 4 /* two matches, two readings */

/* A task whose unit is not loaded has ended, so an error must never look like that. A watch for which
 * something failed makes more calls than one that is untouched. */
static unsigned run_with_failure(unsigned n)
{
    struct scene *scene = scene_new();

    fake_bus_fail_nth(scene->fake, n);
    await_told(scene);
    assert_true(scene->seen.loaded);
    assert_int_equal(scene->seen.main_pid, 42);
    assert_string_equal(scene->seen.invocation_id, "0123456789abcdeffedcba9876543210");
    unsigned n_calls = fake_bus_n_calls(scene->fake, NULL);
    assert_true(n <= CALLS_OF_A_WATCH ? n_calls > CALLS_OF_A_WATCH : n_calls == CALLS_OF_A_WATCH);
    signal_main_pid(scene, PATH, 0);
    await_told(scene);
    scene_free(scene);
    return n_calls == CALLS_OF_A_WATCH ? n_calls : UINT_MAX;
}

static void test_state_is_told_whole_whatever_call_fails(void **state)
{
    (void)state;
    assert_int_equal(fake_bus_every_failure(run_with_failure), CALLS_OF_A_WATCH);
}

static void test_answer_of_the_wrong_kind_is_passed_over(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->answers_wrong_types = true;
    assert_true(fake_bus_await_calls(scene->fake, "GetAll", 2));
    expect_silence(scene);
    scene->answers_wrong_types = false;
    unit_watch_refresh(scene->watch);
    await_told(scene);
    assert_int_equal(scene->seen.main_pid, 42);
    scene_free(scene);
}

/* --- the bus comes and goes ------------------------------------------------------------------ */

static void test_bus_that_goes_says_nothing_about_the_unit(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    fake_bus_vanish(scene->fake);
    expect_silence(scene);
    unit_watch_refresh(scene->watch);
    expect_silence(scene);
    scene->main_pid = 0;
    scene->load_state = "not-found"; /* it went meanwhile */
    fake_bus_appear(scene->fake);
    await_told(scene);
    assert_false(scene->seen.loaded);
    assert_string_equal(scene->seen.result, "success");
    scene_free(scene);
}

static void test_bus_that_goes_while_the_state_is_read_is_waited_for(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_hold(scene->fake);
    assert_true(fake_bus_await_calls(scene->fake, "GetAll", 2));
    fake_bus_vanish(scene->fake);
    expect_silence(scene);
    fake_bus_release(scene->fake);
    fake_bus_appear(scene->fake);
    await_told(scene);
    assert_true(scene->seen.loaded);
    scene_free(scene);
}

static void test_systemd_that_goes_is_waited_for(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    await_told(scene);
    fake_bus_name(scene->fake, SYSTEMD, ":1.1", "");
    expect_silence(scene);
    fake_bus_name(scene->fake, "org.freedesktop.machine1", "", ":1.2");
    expect_silence(scene);
    fake_bus_name(scene->fake, SYSTEMD, "", ":1.9");
    await_told(scene);
    scene_free(scene);
}

static void test_watch_may_be_freed_by_what_it_says(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->frees_itself = true;
    await_told(scene);
    assert_null(scene->watch);
    signal_main_pid(scene, PATH, 0);
    expect_silence(scene);
    scene_free(scene);
}

static void test_freed_watch_is_silent(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    fake_bus_hold(scene->fake);
    assert_true(fake_bus_await_calls(scene->fake, "GetAll", 2));
    scene->watch = unit_watch_free(scene->watch);
    fake_bus_release(scene->fake);
    expect_silence(scene);
    assert_null(unit_watch_free(NULL));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_state_is_told_once_and_whole),
        FD_LEAK_TEST(test_unit_that_is_not_there_is_told),
        FD_LEAK_TEST(test_every_active_state_is_active_or_not),
        FD_LEAK_TEST(test_invocation_id_of_another_length_is_none),
        FD_LEAK_TEST(test_refresh_tells_again),
        FD_LEAK_TEST(test_every_change_is_told),
        FD_LEAK_TEST(test_changes_of_other_units_are_not_heard),
        FD_LEAK_TEST(test_result_that_is_too_long_is_cut),
        FD_LEAK_TEST(test_change_of_the_wrong_kind_is_passed_over),
        FD_LEAK_TEST(test_nothing_is_told_by_halves),
        FD_LEAK_TEST(test_state_is_told_whole_whatever_call_fails),
        FD_LEAK_TEST(test_answer_of_the_wrong_kind_is_passed_over),
        FD_LEAK_TEST(test_bus_that_goes_says_nothing_about_the_unit),
        FD_LEAK_TEST(test_bus_that_goes_while_the_state_is_read_is_waited_for),
        FD_LEAK_TEST(test_systemd_that_goes_is_waited_for),
        FD_LEAK_TEST(test_watch_may_be_freed_by_what_it_says),
        FD_LEAK_TEST(test_freed_watch_is_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
