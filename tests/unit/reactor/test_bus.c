#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/bus.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/scratch_dir.h"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    struct strv heard; /* "a+" when watcher a heard that it is up, "a-": down */
};

struct watcher {
    struct scene *scene;
    struct bus_watch *watch;
    const char *name;
    void (*also)(struct watcher *watcher); /* run once, when it next hears something */
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    return scene;
}

static void scene_free(struct scene *scene)
{
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    strv_done(&scene->heard);
    free(scene);
}

static void on_changed(struct bus *bus, bool up, void *data)
{
    struct watcher *watcher = data;
    void (*also)(struct watcher *) = TAKE_PTR(watcher->also);

    assert_ptr_equal(bus, watcher->scene->bus);
    assert_int_equal(bus_get(bus) != NULL, up);
    strv_printf(&watcher->scene->heard, "%s%c", watcher->name, up ? '+' : '-');
    if (also != NULL)
        also(watcher);
}

static void add_watch(struct scene *scene, struct watcher *watcher, const char *name)
{
    size_t n_before = scene->heard.n_items;

    watcher->scene = scene;
    watcher->name = name;
    watcher->watch = bus_watch_add(scene->bus, on_changed, watcher);
    assert_int_equal(scene->heard.n_items, n_before); /* never from inside */
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

static void await_up(struct scene *scene)
{
    assert_true(event_run_until(scene->event, is_up, scene));
    event_run_pending(scene->event);
}

static void lose(struct scene *scene)
{
    fake_bus_vanish(scene->fake);
    assert_true(event_run_until(scene->event, is_down, scene));
    event_run_pending(scene->event);
}

static void expect_heard(struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *heard = strv_join(&scene->heard, " ");

    assert_string_equal(heard, expected);
}

static void expect_call_works(struct scene *scene)
{
    unsigned n_before = fake_bus_n_calls(scene->fake, "Ping");

    assert_true(sd_bus_call_method_async(bus_get(scene->bus), NULL, "a.b", "/a", "a.b", "Ping", NULL,
                                         NULL, NULL) >= 0);
    assert_true(fake_bus_await_calls(scene->fake, "Ping", n_before + 1));
}

/* --- up and down ----------------------------------------------------------------------------- */

static void test_connection_is_made_in_the_background(void **state)
{
    struct scene *scene = scene_new();
    struct watcher a = {};

    (void)state;
    assert_null(bus_get(scene->bus));
    assert_ptr_equal(bus_event(scene->bus), scene->event);
    add_watch(scene, &a, "a");
    await_up(scene);
    expect_heard(scene, "a+");
    expect_call_works(scene);
    bus_watch_free(a.watch);
    scene_free(scene);
}

/* A timer may be late by its accuracy, which unless told otherwise is a quarter of a second; and the
 * first fingerprint and the first task wait for the bus. */
static void test_first_connection_is_not_put_off(void **state)
{
    uint64_t best_usec = UINT64_MAX;

    (void)state;
    for (int i = 0; i < 5; i++) { /* the machine may be busy, but not each time */
        struct scene *scene = scene_new();
        uint64_t took_usec = event_usec_until(scene->event, is_up, scene);
        best_usec = took_usec < best_usec ? took_usec : best_usec;
        scene_free(scene);
    }
    assert_in_range(best_usec, 0, 20000);
}

static void test_watcher_that_comes_later_hears_it_later(void **state)
{
    struct scene *scene = scene_new();
    struct watcher a = {}, b = {};

    (void)state;
    add_watch(scene, &a, "a");
    await_up(scene);
    add_watch(scene, &b, "b");
    event_run_pending(scene->event);
    expect_heard(scene, "a+ b+");
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    bus_watch_free(a.watch);
    bus_watch_free(b.watch);
    scene_free(scene);
}

static void test_loss_is_told_and_it_connects_again(void **state)
{
    struct scene *scene = scene_new();
    struct watcher a = {}, b = {};

    (void)state;
    add_watch(scene, &a, "a");
    add_watch(scene, &b, "b");
    await_up(scene);
    for (int i = 0; i < 3; i++) {
        strv_done(&scene->heard);
        lose(scene);
        expect_heard(scene, "a- b-");
        fake_bus_appear(scene->fake);
        await_up(scene);
        expect_heard(scene, "a- b- a+ b+");
        expect_call_works(scene);
    }
    bus_watch_free(a.watch);
    bus_watch_free(b.watch);
    scene_free(scene);
}

static bool has_tmp_alone;

/* Each directory on the way to the socket is watched, so the machine's /tmp is too busy. */
static void test_socket_that_is_missing_is_awaited_and_not_polled_for(void **state)
{
    if (!has_tmp_alone)
        skip();
    struct scene *scene = scene_new();
    struct watcher a = {};

    (void)state;
    fake_bus_vanish(scene->fake);
    add_watch(scene, &a, "a");
    event_run_pending(scene->event);
    assert_int_equal(event_count_during(scene->event, 300000), 0);
    fake_bus_appear(scene->fake);
    await_up(scene);
    expect_heard(scene, "a+");
    bus_watch_free(a.watch);
    scene_free(scene);
}

static void test_watcher_of_a_bus_that_is_down_hears_nothing_until_it_is_up(void **state)
{
    struct scene *scene = scene_new();
    struct watcher a = {};

    (void)state;
    await_up(scene);
    lose(scene);
    add_watch(scene, &a, "a");
    event_run_pending(scene->event);
    expect_heard(scene, "");
    fake_bus_appear(scene->fake);
    await_up(scene);
    expect_heard(scene, "a+");
    bus_watch_free(a.watch);
    scene_free(scene);
}

/* It came up and went down before the loop had told this one: then there is nothing to tell. */
static void test_watcher_is_told_of_changes_only(void **state)
{
    struct scene *scene = scene_new();
    struct watcher a = {};

    (void)state;
    await_up(scene);
    fake_bus_vanish(scene->fake);
    add_watch(scene, &a, "a");
    assert_true(event_run_until(scene->event, is_down, scene));
    event_run_pending(scene->event);
    for (size_t i = 0; i < scene->heard.n_items; i++)
        assert_string_equal(scene->heard.items[i], i % 2 == 0 ? "a+" : "a-");
    assert_int_equal(scene->heard.n_items % 2, 0);
    bus_watch_free(a.watch);
    scene_free(scene);
}

/* --- what a watcher may do ------------------------------------------------------------------- */

static struct watcher *other, *third;

static void free_itself(struct watcher *watcher)
{
    watcher->watch = bus_watch_free(watcher->watch);
}

static void free_other(struct watcher *watcher)
{
    (void)watcher;
    other->watch = bus_watch_free(other->watch);
}

static void free_all(struct watcher *watcher)
{
    free_itself(watcher);
    other->watch = bus_watch_free(other->watch);
    third->watch = bus_watch_free(third->watch);
}

static void add_other(struct watcher *watcher)
{
    add_watch(watcher->scene, other, "new");
}

static void run_in_each_place(void (*also)(struct watcher *), const char *const expected[3])
{
    static const char *const names[] = { "a", "b", "c" };

    for (size_t place = 0; place < 3; place++) {
        struct scene *scene = scene_new();
        struct watcher watchers[3] = {}, added = {};
        for (size_t i = 0; i < 3; i++)
            add_watch(scene, &watchers[i], names[i]);
        watchers[place].also = also;
        other = also == add_other ? &added : &watchers[(place + 1) % 3];
        third = &watchers[(place + 2) % 3];
        await_up(scene);
        expect_heard(scene, expected[place]);
        for (size_t i = 0; i < 3; i++)
            bus_watch_free(watchers[i].watch);
        bus_watch_free(added.watch);
        scene_free(scene);
    }
}

static void test_watcher_may_free_itself(void **state)
{
    (void)state;
    run_in_each_place(free_itself, (const char *const[]){ "a+ b+ c+", "a+ b+ c+", "a+ b+ c+" });
}

static void test_watcher_may_free_another(void **state)
{
    (void)state;
    run_in_each_place(free_other, (const char *const[]){ "a+ c+", "a+ b+", "a+ b+ c+" });
}

static void test_watcher_may_free_all(void **state)
{
    (void)state;
    run_in_each_place(free_all, (const char *const[]){ "a+", "a+ b+", "a+ b+ c+" });
}

static void test_watcher_may_add_another(void **state)
{
    (void)state;
    run_in_each_place(add_other, (const char *const[]){ "a+ b+ c+ new+", "a+ b+ c+ new+",
                                                        "a+ b+ c+ new+" });
}

/* --- brokers that are none ------------------------------------------------------------------- */

/* Accepts, says something, and hangs up. */
struct impostor {
    char *dir, *path, *address;
    int fd;
    sd_event_source *source;
    const char *text;
    unsigned n_connections;
};

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *data)
{
    struct impostor *impostor = data;
    CLEANUP_CLOSE int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    (void)source;
    (void)revents;
    impostor->n_connections++;
    (void)send(peer, impostor->text, strlen(impostor->text), MSG_NOSIGNAL);
    return 0;
}

static struct impostor *impostor_new(sd_event *event, const char *text)
{
    struct impostor *impostor = ALLOC_NEW(struct impostor);
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    impostor->text = text;
    impostor->dir = scratch_dir_new();
    impostor->path = scratch_dir_path(impostor->dir, "bus");
    impostor->address = alloc_printf("unix:path=%s", impostor->path);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", impostor->path);
    impostor->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(impostor->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(impostor->fd, 16), 0);
    assert_true(sd_event_add_io(event, &impostor->source, impostor->fd, EPOLLIN, on_connection,
                                impostor) >= 0);
    return impostor;
}

static void impostor_free(struct impostor *impostor)
{
    sd_event_source_disable_unref(impostor->source);
    close_fd(impostor->fd);
    scratch_dir_free(impostor->dir);
    free(impostor->path);
    free(impostor->address);
    free(impostor);
}

static bool had_three_connections(void *data)
{
    const struct impostor *impostor = data;

    return impostor->n_connections >= 3;
}

static void test_broker_that_hangs_up_is_tried_again_ever_more_slowly(void **state)
{
    static const char agreed_then_garbage[] = "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n"
                                              "AGREE_UNIX_FD\r\nnot a message at all";
    static const char *const texts[] = { "", "OK", "REJECTED EXTERNAL\r\n", "garbage\r\n\r\n",
                                         "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n",
                                         agreed_then_garbage };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sd_event *event = NULL;
        assert_true(sd_event_new(&event) >= 0);
        struct impostor *impostor = impostor_new(event, texts[i]);
        struct bus *bus = bus_new(event, impostor->address);
        assert_true(event_run_until(event, had_three_connections, impostor));
        /* 100 ms and 200 ms were waited; the next come after 400 and 800. */
        (void)event_count_during(event, 300000);
        assert_in_range(impostor->n_connections, 3, 4);
        assert_null(bus_get(bus));
        bus_free(bus);
        impostor_free(impostor);
        sd_event_unref(event);
    }
}

static void test_address_that_is_none_harms_nobody(void **state)
{
    static const char *const addresses[] = { "", "garbage", "unix:", "unix:path=/nowhere/at/all/bus",
                                             "tcp:host=" };

    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        sd_event *event = NULL;
        assert_true(sd_event_new(&event) >= 0);
        struct bus *bus = bus_new(event, addresses[i]);
        (void)event_count_during(event, 120000);
        assert_null(bus_get(bus));
        bus_free(bus);
        sd_event_unref(event);
    }
}

static void test_bus_can_be_freed_in_any_state(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene_free(scene); /* before the first turn */
    scene = scene_new();
    (void)sd_event_run(scene->event, 0); /* while it connects */
    scene_free(scene);
    scene = scene_new();
    await_up(scene);
    lose(scene); /* while it waits to try again */
    scene_free(scene);
    assert_null(bus_free(NULL));
    assert_null(bus_watch_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_connection_is_made_in_the_background),
        FD_LEAK_TEST(test_first_connection_is_not_put_off),
        FD_LEAK_TEST(test_watcher_that_comes_later_hears_it_later),
        FD_LEAK_TEST(test_loss_is_told_and_it_connects_again),
        FD_LEAK_TEST(test_socket_that_is_missing_is_awaited_and_not_polled_for),
        FD_LEAK_TEST(test_watcher_of_a_bus_that_is_down_hears_nothing_until_it_is_up),
        FD_LEAK_TEST(test_watcher_is_told_of_changes_only),
        FD_LEAK_TEST(test_watcher_may_free_itself),
        FD_LEAK_TEST(test_watcher_may_free_another),
        FD_LEAK_TEST(test_watcher_may_free_all),
        FD_LEAK_TEST(test_watcher_may_add_another),
        FD_LEAK_TEST(test_broker_that_hangs_up_is_tried_again_ever_more_slowly),
        FD_LEAK_TEST(test_address_that_is_none_harms_nobody),
        FD_LEAK_TEST(test_bus_can_be_freed_in_any_state),
    };

    has_tmp_alone = private_run_enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
