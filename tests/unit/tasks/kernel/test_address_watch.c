/* In namespaces of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/address_watch.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network.h"

static bool is_there;

static int make_network(void **state)
{
    (void)state;
    is_there = network_enter();
    if (is_there)
        network_run("ip netns add other\n"
                    "ip link add here type veth peer there netns other\n");
    return 0;
}

struct scene {
    sd_event *event;
    struct address_watch *watch;
    unsigned n_changes;
    bool frees;
};

static void on_changed(void *data)
{
    struct scene *scene = data;

    scene->n_changes++;
    if (scene->frees)
        scene->watch = address_watch_free(scene->watch);
}

/* `name`: of a namespace; NULL for our own. */
static void scene_init(struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = alloc_printf("/run/netns/%s", name != NULL ? name : "");
    CLEANUP_CLOSE int fd = name != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -EBADF;
    int r = 0;

    *scene = (struct scene){};
    assert_true(sd_event_new(&scene->event) >= 0);
    scene->watch = address_watch_new(scene->event, fd, on_changed, scene, &r);
    assert_non_null(scene->watch);
    assert_int_equal(scene->n_changes, 0);
}

static void scene_done(struct scene *scene)
{
    address_watch_free(scene->watch);
    sd_event_unref(scene->event);
}

#define CLEANUP_SCENE CLEANUP(scene_done)

static bool has_heard(void *data)
{
    const struct scene *scene = data;

    return scene->n_changes > 0;
}

static void expect_change(struct scene *scene)
{
    assert_true(event_run_until(scene->event, has_heard, scene));
    event_run_pending(scene->event);
    scene->n_changes = 0;
}

static void test_it_is_told_once_at_first(void **state)
{
    CLEANUP_SCENE struct scene scene = {};

    (void)state;
    if (!is_there)
        skip();
    scene_init(&scene, NULL);
    event_run_pending(scene.event);
    assert_int_equal(scene.n_changes, 1);
}

static void test_addresses_that_come_and_go_are_told(void **state)
{
    CLEANUP_SCENE struct scene scene = {};

    (void)state;
    if (!is_there)
        skip();
    scene_init(&scene, NULL);
    expect_change(&scene);
    network_run("ip addr add 192.0.2.1/24 dev here\n");
    expect_change(&scene);
    network_run("ip addr del 192.0.2.1/24 dev here\n");
    expect_change(&scene);
    network_run("ip addr add 2001:db8::1/64 dev here nodad\n");
    expect_change(&scene);
    network_run("ip addr del 2001:db8::1/64 dev here\n");
    expect_change(&scene);
}

static void test_each_namespace_has_its_own(void **state)
{
    CLEANUP_SCENE struct scene ours = {}, others = {};

    (void)state;
    if (!is_there)
        skip();
    scene_init(&ours, NULL);
    scene_init(&others, "other");
    expect_change(&ours);
    expect_change(&others);
    network_run("ip -n other addr add 192.0.2.2/24 dev there\n");
    expect_change(&others);
    event_run_pending(ours.event);
    assert_int_equal(ours.n_changes, 0);
    network_run("ip addr add 192.0.2.1/24 dev here; ip addr del 192.0.2.1/24 dev here\n"
                "ip -n other addr del 192.0.2.2/24 dev there\n");
    expect_change(&ours);
    expect_change(&others);
}

/* What changed is asked for afterwards: more than the socket takes is as good as one. */
static void test_more_than_it_can_hear_is_told_all_the_same(void **state)
{
    CLEANUP_SCENE struct scene scene = {};

    (void)state;
    if (!is_there)
        skip();
    scene_init(&scene, NULL);
    expect_change(&scene);
    network_run("for i in $(seq 4000); do\n"
                "    echo addr add 192.0.2.1/24 dev here; echo addr del 192.0.2.1/24 dev here\n"
                "done | ip -batch -\n");
    expect_change(&scene);
    network_run("ip addr add 192.0.2.1/24 dev here; ip addr del 192.0.2.1/24 dev here\n");
    expect_change(&scene);
}

static void test_it_may_be_freed_when_it_tells(void **state)
{
    (void)state;
    if (!is_there)
        skip();
    for (unsigned first = 0; first < 2; first++) {
        CLEANUP_SCENE struct scene scene;
        scene_init(&scene, NULL);
        scene.frees = first != 0;
        event_run_pending(scene.event);
        assert_int_equal(scene.n_changes, 1);
        scene.frees = true;
        network_run("ip addr add 192.0.2.1/24 dev here; ip addr del 192.0.2.1/24 dev here\n");
        event_run_pending(scene.event);
        assert_int_equal(scene.n_changes, first != 0 ? 1 : 2);
        assert_null(scene.watch);
    }
}

static void test_what_is_no_namespace_is_told(void **state)
{
    CLEANUP_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP(sd_event_unrefp) sd_event *event = NULL;
    int r = 0;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    assert_null(address_watch_new(event, fd, on_changed, NULL, &r));
    assert_int_equal(r, -EINVAL);
    assert_null(address_watch_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_it_is_told_once_at_first),
        FD_LEAK_TEST(test_addresses_that_come_and_go_are_told),
        FD_LEAK_TEST(test_each_namespace_has_its_own),
        FD_LEAK_TEST(test_more_than_it_can_hear_is_told_all_the_same),
        FD_LEAK_TEST(test_it_may_be_freed_when_it_tells),
        FD_LEAK_TEST(test_what_is_no_namespace_is_told),
    };

    return cmocka_run_group_tests(tests, make_network, NULL);
}
