#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/lifecycle/task_events.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

struct scene {
    sd_event *event;
    struct task_events *events;
};

struct listener {
    struct scene *scene;
    struct event_watch *watch;
    struct strv messages;
    void (*also)(struct listener *listener); /* run by the next event that it hears */
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->events = task_events_new(scene->event);
    return scene;
}

static void scene_free(struct scene *scene)
{
    task_events_free(scene->events);
    sd_event_unref(scene->event);
    free(scene);
}

static void on_event(const struct task_event *event, void *data)
{
    struct listener *listener = data;
    void (*also)(struct listener *) = TAKE_PTR(listener->also);

    strv_push(&listener->messages, event->message);
    if (also != NULL)
        also(listener);
}

static void listen_to(struct scene *scene, struct listener *listener)
{
    listener->scene = scene;
    listener->watch = task_events_watch(scene->events, on_event, listener);
}

static void listener_done(struct listener *listener)
{
    event_watch_free(listener->watch);
    strv_done(&listener->messages);
}

static void emit(struct scene *scene, const char *message)
{
    task_events_emit(scene->events, &(const struct task_event){
                                        .task_id = "a/web/1",
                                        .alloc_id = "a",
                                        .task_name = "web",
                                        .message = message,
                                    });
}

static void expect_heard(struct listener *listener, const char *expected)
{
    CLEANUP_FREE char *heard = strv_join(&listener->messages, " ");

    assert_string_equal(heard, expected);
}

static void test_event_is_told_later_to_all_in_order(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {}, two = {};

    (void)state;
    listen_to(scene, &one);
    listen_to(scene, &two);
    emit(scene, "1");
    emit(scene, "2");
    expect_heard(&one, "");
    event_run_pending(scene->event);
    expect_heard(&one, "1 2");
    expect_heard(&two, "1 2");
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    listener_done(&one);
    listener_done(&two);
    scene_free(scene);
}

static void test_events_before_the_first_watcher_are_kept_for_it_alone(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {}, two = {};

    (void)state;
    emit(scene, "1");
    event_run_pending(scene->event);
    emit(scene, "2");
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    listen_to(scene, &one);
    expect_heard(&one, "");
    event_run_pending(scene->event);
    expect_heard(&one, "1 2");
    listen_to(scene, &two);
    event_run_pending(scene->event);
    expect_heard(&two, "");
    emit(scene, "3");
    event_run_pending(scene->event);
    expect_heard(&one, "1 2 3");
    expect_heard(&two, "3");
    listener_done(&one);
    listener_done(&two);
    scene_free(scene);
}

static void test_only_the_newest_are_kept(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {};
    char text[16];

    (void)state;
    for (int i = 0; i < TASK_EVENTS_KEPT_MAX + 10; i++) {
        (void)snprintf(text, sizeof(text), "%d", i);
        emit(scene, text);
    }
    listen_to(scene, &one);
    event_run_pending(scene->event);
    assert_int_equal(one.messages.n_items, TASK_EVENTS_KEPT_MAX);
    assert_string_equal(one.messages.items[0], "10");
    (void)snprintf(text, sizeof(text), "%d", TASK_EVENTS_KEPT_MAX + 9);
    assert_string_equal(one.messages.items[TASK_EVENTS_KEPT_MAX - 1], text);
    listener_done(&one);
    scene_free(scene);
}

static void test_nothing_is_dropped_while_somebody_watches(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {};

    (void)state;
    listen_to(scene, &one);
    for (int i = 0; i < 2 * TASK_EVENTS_KEPT_MAX; i++)
        emit(scene, "x");
    event_run_pending(scene->event);
    assert_int_equal(one.messages.n_items, 2 * TASK_EVENTS_KEPT_MAX);
    listener_done(&one);
    scene_free(scene);
}

static void test_event_that_waits_for_a_watcher_who_left_is_kept(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {}, two = {};

    (void)state;
    listen_to(scene, &one);
    emit(scene, "1");
    one.watch = event_watch_free(one.watch);
    event_run_pending(scene->event);
    expect_heard(&one, "");
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    listen_to(scene, &two);
    event_run_pending(scene->event);
    expect_heard(&two, "1");
    listener_done(&one);
    listener_done(&two);
    scene_free(scene);
}

static void check_content(const struct task_event *event, void *data)
{
    unsigned *n_told = data;

    assert_string_equal(event->task_id, "id");
    assert_string_equal(event->alloc_id, "alloc");
    assert_string_equal(event->task_name, "name");
    assert_string_equal(event->message, "message");
    assert_string_equal(pairs_get(event->annotations, "key"), "value");
    if (*n_told == 0)
        assert_true(event->timestamp_usec == 17);
    else
        assert_true(event->timestamp_usec / 1000000 + 5 >= (uint64_t)time(NULL));
    (*n_told)++;
}

static void test_event_is_a_copy_with_its_time(void **state)
{
    struct scene *scene = scene_new();
    struct pairs annotations = {};
    char id[] = "id", alloc[] = "alloc", name[] = "name", message[] = "message";
    struct task_event event = {
        .task_id = id,
        .alloc_id = alloc,
        .task_name = name,
        .message = message,
        .annotations = &annotations,
        .timestamp_usec = 17,
    };
    unsigned n_told = 0;

    (void)state;
    pairs_set(&annotations, "key", "value");
    task_events_emit(scene->events, &event);
    event.timestamp_usec = 0;
    task_events_emit(scene->events, &event);
    pairs_done(&annotations);
    id[0] = alloc[0] = name[0] = message[0] = 'X';
    struct event_watch *watch = task_events_watch(scene->events, check_content, &n_told);
    event_run_pending(scene->event);
    assert_int_equal(n_told, 2);
    event_watch_free(watch);
    scene_free(scene);
}

/* --- what a watcher may do ------------------------------------------------------------------- */

static struct listener *other, *third;

static void free_itself(struct listener *listener)
{
    listener->watch = event_watch_free(listener->watch);
}

static void free_other(struct listener *listener)
{
    (void)listener;
    other->watch = event_watch_free(other->watch);
}

static void free_all(struct listener *listener)
{
    free_itself(listener);
    free_other(listener);
    third->watch = event_watch_free(third->watch);
}

static void add_other(struct listener *listener)
{
    listen_to(listener->scene, other);
}

static void emit_more(struct listener *listener)
{
    emit(listener->scene, "more");
}

/* Runs `also` in the watcher that is told of the first of two events, for each place in the list. */
static void run_in_each_place(void (*also)(struct listener *), const char *own, const char *others)
{
    for (size_t place = 0; place < 3; place++) {
        struct scene *scene = scene_new();
        struct listener listeners[3] = {};
        for (size_t i = 0; i < 3; i++)
            listen_to(scene, &listeners[i]);
        listeners[place].also = also;
        other = &listeners[(place + 1) % 3];
        third = &listeners[(place + 2) % 3];
        emit(scene, "1");
        emit(scene, "2");
        event_run_pending(scene->event);
        expect_heard(&listeners[place], own);
        for (size_t i = 0; others != NULL && i < 3; i++)
            if (i != place)
                expect_heard(&listeners[i], others);
        for (size_t i = 0; i < 3; i++)
            listener_done(&listeners[i]);
        scene_free(scene);
    }
}

static void test_watcher_may_free_itself(void **state)
{
    (void)state;
    run_in_each_place(free_itself, "1", "1 2");
}

static void test_watcher_may_free_another(void **state)
{
    (void)state;
    run_in_each_place(free_other, "1 2", NULL);
}

static void test_watcher_may_free_all(void **state)
{
    (void)state;
    run_in_each_place(free_all, "1", NULL);
}

static void test_watcher_may_emit(void **state)
{
    (void)state;
    run_in_each_place(emit_more, "1 2 more", "1 2 more");
}

static void test_watcher_that_comes_meanwhile_is_told_too(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = { .also = add_other }, two = {};

    (void)state;
    other = &two;
    listen_to(scene, &one);
    emit(scene, "1");
    event_run_pending(scene->event);
    expect_heard(&one, "1");
    expect_heard(&two, "1");
    listener_done(&one);
    listener_done(&two);
    scene_free(scene);
}

static void test_watches_outlive_the_events(void **state)
{
    struct scene *scene = scene_new();
    struct listener one = {}, two = {};

    (void)state;
    listen_to(scene, &one);
    listen_to(scene, &two);
    emit(scene, "1");
    scene->events = task_events_free(scene->events);
    event_run_pending(scene->event);
    expect_heard(&one, "");
    listener_done(&two);
    listener_done(&one);
    assert_null(event_watch_free(NULL));
    assert_null(task_events_free(NULL));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_event_is_told_later_to_all_in_order),
        FD_LEAK_TEST(test_events_before_the_first_watcher_are_kept_for_it_alone),
        FD_LEAK_TEST(test_only_the_newest_are_kept),
        FD_LEAK_TEST(test_nothing_is_dropped_while_somebody_watches),
        FD_LEAK_TEST(test_event_that_waits_for_a_watcher_who_left_is_kept),
        FD_LEAK_TEST(test_event_is_a_copy_with_its_time),
        FD_LEAK_TEST(test_watcher_may_free_itself),
        FD_LEAK_TEST(test_watcher_may_free_another),
        FD_LEAK_TEST(test_watcher_may_free_all),
        FD_LEAK_TEST(test_watcher_may_emit),
        FD_LEAK_TEST(test_watcher_that_comes_meanwhile_is_told_too),
        FD_LEAK_TEST(test_watches_outlive_the_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
