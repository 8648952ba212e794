/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "tasks/fingerprint/fingerprint.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define MANAGER SYSTEMD ".Manager"

static const struct fingerprint_times quick = {.first_usec = 50000, .retry_usec = 20000};

static struct probe_host host;
static unsigned n_probes;

static void probe(struct probe_host *ret)
{
    n_probes++;
    *ret = host;
}

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct fingerprint *fp;
    struct fingerprint_watch *watch;
    const char *version, *load_state; /* what systemd answers */
    unsigned n_reports;
    enum driver_health health;
    char *description, *attributes;
    const char *expected;
};

static int on_get(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                  sd_bus_error *error, void *data)
{
    (void)fake, (void)error;
    const struct scene *scene = data;
    const char *interface, *property;
    int r = sd_bus_message_read(call, "ss", &interface, &property);
    if (r < 0)
        return r;
    if (strcmp(property, "Version") == 0) {
        assert_string_equal(interface, MANAGER);
        assert_string_equal(sd_bus_message_get_path(call), "/org/freedesktop/systemd1");
        return sd_bus_message_append(reply, "v", "s", scene->version);
    }
    assert_string_equal(property, "LoadState");
    assert_string_equal(interface, SYSTEMD ".Unit");
    assert_string_equal(sd_bus_message_get_path(call),
                        "/org/freedesktop/systemd1/unit/systemd_2dmachined_2eservice");
    return sd_bus_message_append(reply, "v", "s", scene->load_state);
}

static int on_subscribe(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                        sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)reply, (void)error, (void)data;
    return 0;
}

static char *attributes_text(const struct driver_fingerprint *fingerprint)
{
    char *text = alloc_strdup("");
    for (size_t i = 0; i < fingerprint->n_attributes; i++) {
        const struct driver_attribute *a = &fingerprint->attributes[i];
        char *longer = alloc_printf("%s%s=%s\n", text, a->key,
                                    a->string ? a->string : a->boolean ? "true" : "false");
        free(text);
        text = longer;
    }
    return text;
}

static void on_report(const struct driver_fingerprint *fingerprint, void *data)
{
    struct scene *scene = data;
    free(scene->description);
    free(scene->attributes);
    scene->n_reports++;
    scene->health = fingerprint->health;
    scene->description = alloc_strdup(fingerprint->description);
    scene->attributes = attributes_text(fingerprint);
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);
    host = (struct probe_host){
        .root = true, .booted = true, .nspawn = true, .user_namespaces = true,
        .idmapped_mounts = true, .cgroup = CGROUP_VERSION_V2,
    };
    scene->version = "252.39-1~deb12u2";
    scene->load_state = "loaded";
    int r = sd_event_new(&scene->event);
    assert_true(r >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "Get", on_get, scene);
    fake_bus_method(scene->fake, "Subscribe", on_subscribe, NULL);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->fp = fingerprint_new(scene->bus, probe, &quick);
    return scene;
}

static void scene_free(struct scene *scene)
{
    fingerprint_free(scene->fp);
    fingerprint_watch_free(scene->watch);
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    free(scene->description);
    free(scene->attributes);
    free(scene);
}

static bool is_as_expected(void *data)
{
    const struct scene *scene = data;
    return scene->description && strstr(scene->description, scene->expected);
}

static void expect_text(struct scene *scene, enum driver_health health, const char *part)
{
    scene->expected = part;
    if (!event_run_until(scene->event, is_as_expected, scene))
        fail_msg("expected '%s', it is '%s'", part, scene->description);
    assert_int_equal(scene->health, health);
}

static struct scene *healthy_scene(void)
{
    struct scene *scene = scene_new();
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    return scene;
}

static void send_reload(struct scene *scene)
{
    for (int begins = 1; begins >= 0; begins--)
        fake_bus_signal(scene->fake, ":1.1", "/org/freedesktop/systemd1", MANAGER, "Reloading", "b",
                        begins);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_healthy_host_is_told_with_what_was_probed(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    assert_string_equal(scene->description, "Healthy");
    assert_string_equal(scene->attributes, "driver.nspawn=true\n"
                                           "driver.nspawn.version=252\n"
                                           "driver.nspawn.machined=true\n"
                                           "driver.nspawn.user_namespaces=true\n"
                                           "driver.nspawn.idmapped_mounts=true\n"
                                           "driver.nspawn.cgroup=v2\n");
    assert_int_equal(scene->n_reports, 1);
    scene_free(scene);
}

static void test_nothing_is_asked_before_somebody_watches(void **state)
{
    (void)state;
    n_probes = 0;
    struct scene *scene = scene_new();
    (void)event_count_during(scene->event, 100000);
    assert_int_equal(n_probes, 0);
    assert_int_equal(fake_bus_n_calls(scene->fake, NULL), 0);
    scene_free(scene);
}

static void test_idle_host_wakes_nobody(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    (void)event_count_during(scene->event, 100000); /* patience ends */
    assert_int_equal(event_count_during(scene->event, 200000), 0);
    assert_int_equal(fake_bus_n_calls(scene->fake, "StartUnit"), 0);
    scene_free(scene);
}

static void test_bus_that_never_comes_is_told_after_a_moment(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_vanish(scene->fake);
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_UNHEALTHY, "no connection to the system bus");
    assert_int_equal(scene->n_reports, 1);
    fake_bus_appear(scene->fake);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    assert_int_equal(scene->n_reports, 2);
    scene_free(scene);
}

static void test_bus_that_goes_and_comes_back_is_followed(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    (void)event_count_during(scene->event, 100000);
    for (int i = 0; i < 3; i++) {
        fake_bus_vanish(scene->fake);
        expect_text(scene, DRIVER_UNHEALTHY, "no connection to the system bus");
        fake_bus_appear(scene->fake);
        expect_text(scene, DRIVER_HEALTHY, "Healthy");
    }
    assert_int_equal(scene->n_reports, 7);
    scene_free(scene);
}

static void test_machined_masked_and_unmasked_is_followed_by_reloads(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    scene->load_state = "masked";
    send_reload(scene);
    expect_text(scene, DRIVER_UNHEALTHY, "systemctl unmask systemd-machined.service");
    assert_non_null(strstr(scene->attributes, "driver.nspawn.machined=false"));
    scene->load_state = "loaded";
    fake_bus_signal(scene->fake, ":1.1", "/org/freedesktop/systemd1", MANAGER, "UnitFilesChanged",
                    "");
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    assert_int_equal(scene->n_reports, 3);
    scene_free(scene);
}

static void test_machined_not_installed_and_broken_say_what_to_do(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    scene->load_state = "not-found";
    send_reload(scene);
    expect_text(scene, DRIVER_UNHEALTHY, "install the package systemd-container");
    scene->load_state = "bad-setting";
    send_reload(scene);
    expect_text(scene, DRIVER_UNHEALTHY, "systemctl status systemd-machined.service");
    scene_free(scene);
}

static void test_machined_that_idles_out_is_no_change(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    unsigned n_before = fake_bus_n_calls(scene->fake, "Get");
    fake_bus_name(scene->fake, "org.freedesktop.machine1", ":1.7", "");
    (void)event_count_during(scene->event, 100000);
    assert_int_equal(fake_bus_n_calls(scene->fake, "Get"), n_before + 2);
    assert_int_equal(scene->n_reports, 1);
    scene_free(scene);
}

static void test_names_of_others_are_not_listened_to(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    unsigned n_before = fake_bus_n_calls(scene->fake, NULL);
    fake_bus_name(scene->fake, "org.example.Other", ":1.7", "");
    (void)event_count_during(scene->event, 50000);
    assert_int_equal(fake_bus_n_calls(scene->fake, NULL), n_before);
    scene_free(scene);
}

static void test_many_changes_at_once_are_one_more_question(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    unsigned n_before = fake_bus_n_calls(scene->fake, "Get");
    for (int i = 0; i < 50; i++)
        send_reload(scene);
    (void)event_count_during(scene->event, 200000);
    assert_in_range(fake_bus_n_calls(scene->fake, "Get") - n_before, 2, 20);
    assert_int_equal(scene->n_reports, 1);
    scene_free(scene);
}

static void test_change_during_a_question_is_asked_for_again(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    unsigned n_before = fake_bus_n_calls(scene->fake, "Get");
    fake_bus_hold(scene->fake);
    send_reload(scene);
    (void)event_count_during(scene->event, 50000);
    assert_int_equal(fake_bus_n_calls(scene->fake, "Get"), n_before + 2);
    send_reload(scene);
    (void)event_count_during(scene->event, 50000);
    fake_bus_release(scene->fake);
    scene->load_state = "masked";
    expect_text(scene, DRIVER_UNHEALTHY, "masked");
    assert_int_equal(fake_bus_n_calls(scene->fake, "Get"), n_before + 4);
    scene_free(scene);
}

static void test_new_systemd_is_subscribed_to_and_its_version_told(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    assert_int_equal(fake_bus_n_calls(scene->fake, "Subscribe"), 1);
    scene->version = "258~rc1";
    fake_bus_name(scene->fake, SYSTEMD, "", ":1.1");
    (void)event_count_during(scene->event, 100000);
    assert_non_null(strstr(scene->attributes, "driver.nspawn.version=258\n"));
    assert_int_equal(fake_bus_n_calls(scene->fake, "Subscribe"), 2);
    scene_free(scene);
}

static void test_subscription_that_somebody_else_made_is_fine(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_refuse(scene->fake, "Subscribe", SYSTEMD ".AlreadySubscribed", "already");
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    scene_free(scene);
}

static void test_systemd_that_refuses_is_told_and_asked_again(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_refuse(scene->fake, "Get", "org.freedesktop.DBus.Error.ServiceUnknown", "nobody home");
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_UNHEALTHY, "nobody home");
    fake_bus_refuse(scene->fake, "Get", NULL, NULL);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    scene_free(scene);
}

static void test_malformed_answer_is_told(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_method(scene->fake, "Get", on_subscribe, NULL); /* an empty reply */
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_UNHEALTHY, "malformed");
    scene_free(scene);
}

static void test_systemd_that_stays_silent_is_told_after_a_moment(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_hold(scene->fake);
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    expect_text(scene, DRIVER_UNHEALTHY, "systemd has not answered");
    fake_bus_release(scene->fake);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    scene_free(scene);
}

static void test_bus_lost_during_a_question_is_told_as_that_only(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    (void)event_count_during(scene->event, 100000);
    fake_bus_hold(scene->fake);
    send_reload(scene);
    (void)event_count_during(scene->event, 20000);
    fake_bus_vanish(scene->fake);
    expect_text(scene, DRIVER_UNHEALTHY, "no connection to the system bus");
    assert_int_equal(scene->n_reports, 2);
    scene_free(scene);
}

static void test_every_failing_call_ends_healthy(void **state)
{
    (void)state;
    unsigned n_calls = 0;
    for (unsigned n = 1; n == 1 || n <= n_calls; n++) {
        struct scene *scene = scene_new();
        fake_bus_fail_nth(scene->fake, n);
        scene->watch = fingerprint_watch(scene->fp, on_report, scene);
        expect_text(scene, DRIVER_HEALTHY, "Healthy");
        if (n == 1)
            n_calls = fake_bus_n_calls(scene->fake, NULL);
        scene_free(scene);
    }
    assert_true(n_calls >= 7); /* four matches, Subscribe, two questions */
}

static void test_freeing_during_a_question_hears_nothing_more(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    fake_bus_hold(scene->fake);
    scene->watch = fingerprint_watch(scene->fp, on_report, scene);
    (void)event_count_during(scene->event, 20000);
    scene->fp = fingerprint_free(scene->fp);
    fake_bus_release(scene->fake);
    (void)event_count_during(scene->event, 100000);
    assert_int_equal(scene->n_reports, 0);
    scene_free(scene);
}

static void test_option_enabled_is_followed(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    fingerprint_set_enabled(scene->fp, false);
    expect_text(scene, DRIVER_UNDETECTED, "disabled by the plugin option enabled");
    assert_string_equal(scene->attributes, "");
    fingerprint_set_enabled(scene->fp, true);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    assert_int_equal(scene->n_reports, 3);
    scene_free(scene);
}

static void test_what_the_host_lacks_is_told_at_once(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        enum driver_health health;
        const char *text;
    } lacks[] = {
        {offsetof(struct probe_host, booted), DRIVER_UNDETECTED, "PID 1 of this host is not systemd"},
        {offsetof(struct probe_host, nspawn), DRIVER_UNDETECTED, "/usr/bin/systemd-nspawn is missing"},
        {offsetof(struct probe_host, root), DRIVER_UNDETECTED, "run the Nomad agent as root"},
    };
    for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
        struct scene *scene = scene_new();
        fake_bus_vanish(scene->fake);
        ((bool *)&host)[lacks[i].offset] = false;
        scene->watch = fingerprint_watch(scene->fp, on_report, scene);
        event_run_pending(scene->event);
        expect_text(scene, lacks[i].health, lacks[i].text);
        scene_free(scene);
    }
}

static void test_cgroup_versions_are_told(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    host.cgroup = CGROUP_VERSION_HYBRID;
    send_reload(scene);
    (void)event_count_during(scene->event, 50000);
    assert_non_null(strstr(scene->attributes, "driver.nspawn.cgroup=hybrid"));
    assert_int_equal(scene->health, DRIVER_HEALTHY);
    host.cgroup = CGROUP_VERSION_NONE;
    send_reload(scene);
    expect_text(scene, DRIVER_UNHEALTHY, "no cgroup v2 hierarchy");
    scene_free(scene);
}

static void test_package_installed_later_is_found(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    host.nspawn = false;
    send_reload(scene);
    expect_text(scene, DRIVER_UNDETECTED, "install the package systemd-container");
    host.nspawn = true;
    send_reload(scene);
    expect_text(scene, DRIVER_HEALTHY, "Healthy");
    scene_free(scene);
}

static void on_report_free_watch(const struct driver_fingerprint *fingerprint, void *data)
{
    struct scene *scene = data;
    on_report(fingerprint, data);
    scene->watch = fingerprint_watch_free(scene->watch);
}

static void test_late_and_leaving_watches_hear_the_state_once(void **state)
{
    (void)state;
    struct scene *scene = healthy_scene();
    fingerprint_watch_free(scene->watch);
    scene->watch = fingerprint_watch(scene->fp, on_report_free_watch, scene);
    assert_int_equal(scene->n_reports, 1); /* not from inside */
    event_run_pending(scene->event);
    assert_int_equal(scene->n_reports, 2);
    assert_null(scene->watch);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_healthy_host_is_told_with_what_was_probed),
        FD_LEAK_TEST(test_nothing_is_asked_before_somebody_watches),
        FD_LEAK_TEST(test_idle_host_wakes_nobody),
        FD_LEAK_TEST(test_bus_that_never_comes_is_told_after_a_moment),
        FD_LEAK_TEST(test_bus_that_goes_and_comes_back_is_followed),
        FD_LEAK_TEST(test_machined_masked_and_unmasked_is_followed_by_reloads),
        FD_LEAK_TEST(test_machined_not_installed_and_broken_say_what_to_do),
        FD_LEAK_TEST(test_machined_that_idles_out_is_no_change),
        FD_LEAK_TEST(test_names_of_others_are_not_listened_to),
        FD_LEAK_TEST(test_many_changes_at_once_are_one_more_question),
        FD_LEAK_TEST(test_change_during_a_question_is_asked_for_again),
        FD_LEAK_TEST(test_new_systemd_is_subscribed_to_and_its_version_told),
        FD_LEAK_TEST(test_subscription_that_somebody_else_made_is_fine),
        FD_LEAK_TEST(test_systemd_that_refuses_is_told_and_asked_again),
        FD_LEAK_TEST(test_malformed_answer_is_told),
        FD_LEAK_TEST(test_systemd_that_stays_silent_is_told_after_a_moment),
        FD_LEAK_TEST(test_bus_lost_during_a_question_is_told_as_that_only),
        FD_LEAK_TEST(test_every_failing_call_ends_healthy),
        FD_LEAK_TEST(test_freeing_during_a_question_hears_nothing_more),
        FD_LEAK_TEST(test_option_enabled_is_followed),
        FD_LEAK_TEST(test_what_the_host_lacks_is_told_at_once),
        FD_LEAK_TEST(test_cgroup_versions_are_told),
        FD_LEAK_TEST(test_package_installed_later_is_found),
        FD_LEAK_TEST(test_late_and_leaving_watches_hear_the_state_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
