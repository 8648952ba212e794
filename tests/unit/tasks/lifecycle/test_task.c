/* The table of states, and who is told of what when one is entered. What the flows do in between is
 * tested with the driver. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/lifecycle/lifecycle.h"
#include "tasks/lifecycle/task_events.h"
#include "tests/support/event.h"
#include "tests/support/expect_abort.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/tasks/systemd/fake_systemd.h"

#define ALLOC "8a1f9c0e-0000-4000-8000-000000000001"
#define ID    ALLOC "/web/0a1b2c3d"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct fake_systemd *systemd;
    struct task_host host;
    struct task *task;
    bool is_gone;
    struct strv heard; /* answers, in order */
};

static void on_gone(struct task *task, void *data)
{
    struct scene *scene = data;

    assert_ptr_equal(task, scene->task);
    scene->is_gone = true;
    scene->task = lifecycle_free(task);
}

static struct scene *scene_new(enum task_state state)
{
    struct scene *scene = ALLOC_NEW(struct scene);
    struct task_spec spec = { .id = alloc_strdup(ID),
                              .name = alloc_strdup("web"),
                              .alloc_id = alloc_strdup(ALLOC) };

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    scene->systemd = fake_systemd_new(scene->fake, scene->event);
    scene->host.bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->host.units = units_new(scene->host.bus);
    scene->host.events = task_events_new(scene->event);
    scene->host.raise = lifecycle_handle;
    scene->host.gone = on_gone;
    scene->host.data = scene;
    scene->task = lifecycle_new(&scene->host, &spec, state);
    assert_null(spec.id);
    return scene;
}

static void scene_free(struct scene *scene)
{
    lifecycle_free(scene->task);
    task_events_free(scene->host.events);
    units_free(scene->host.units);
    bus_free(scene->host.bus);
    fake_systemd_free(scene->systemd);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    strv_done(&scene->heard);
    free(scene);
}

static void expect_heard(struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *heard = strv_join(&scene->heard, "; ");

    assert_string_equal(heard, expected);
}

static void on_done(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    strv_push(&scene->heard, fail != NULL ? fail_text(fail) : "done");
}

static void on_exited(const struct task_exit *exit, void *data)
{
    struct scene *scene = data;

    strv_printf(&scene->heard, "exit %d", exit->exit_code);
}

/* --- states ---------------------------------------------------------------------------------- */

static const struct {
    enum task_state from, to;
} legal[] = {
    { TASK_STARTING, TASK_RUNNING },   { TASK_STARTING, TASK_REMOVING },
    { TASK_RECOVERING, TASK_RUNNING }, { TASK_RECOVERING, TASK_DRAINING },
    { TASK_RUNNING, TASK_STOPPING },   { TASK_RUNNING, TASK_DRAINING },
    { TASK_STOPPING, TASK_DRAINING },  { TASK_DRAINING, TASK_EXITED },
    { TASK_EXITED, TASK_REMOVING },
};

static bool is_legal(enum task_state from, enum task_state to)
{
    for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++)
        if (legal[i].from == from && legal[i].to == to)
            return true;
    return false;
}

struct change {
    struct scene *scene;
    enum task_state to;
};

static void run_change(void *data)
{
    struct change *change = data;

    task_set_state(change->scene->task, change->to);
}

static void test_every_pair_of_states_is_legal_or_aborts(void **state)
{
    unsigned n_legal = 0;

    (void)state;
    for (enum task_state from = 0; from < TASK_STATE_MAX; from++)
        for (enum task_state to = 0; to < TASK_STATE_MAX; to++) {
            struct change change = { scene_new(from), to };
            if (is_legal(from, to)) {
                n_legal++;
                run_change(&change);
                assert_int_equal(change.scene->task->state, to);
            } else {
                expect_abort(run_change, &change);
            }
            scene_free(change.scene);
        }
    assert_int_equal(n_legal, sizeof(legal) / sizeof(legal[0]));
}

static void test_every_state_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (enum task_state one = 0; one < TASK_STATE_MAX; one++) {
        assert_non_null(task_state_name(one));
        for (enum task_state other = 0; other < one; other++)
            assert_string_not_equal(task_state_name(one), task_state_name(other));
    }
}

static void test_container_may_live_until_it_is_drained(void **state)
{
    (void)state;
    for (enum task_state each = 0; each < TASK_STATE_MAX; each++) {
        struct scene *scene = scene_new(each);
        bool may_live = each == TASK_STARTING || each == TASK_RECOVERING || each == TASK_RUNNING ||
                        each == TASK_STOPPING;
        assert_int_equal(task_is_alive(scene->task), may_live);
        scene_free(scene);
    }
}

static void test_names_follow_from_the_task(void **state)
{
    struct scene *scene = scene_new(TASK_STARTING);

    (void)state;
    assert_string_equal(scene->task->names.machine, "web-" ALLOC);
    assert_string_equal(scene->task->names.unit, "nspawn-web-" ALLOC ".service");
    assert_string_equal(scene->task->names.holder, "nspawn-web-" ALLOC "-logs.service");
    assert_int_equal(strncmp(scene->task->names.slice, "nspawn-", 7), 0);
    scene_free(scene);
}

/* --- requests -------------------------------------------------------------------------------- */

struct chain {
    struct task_requests *requests;
    struct strv heard;
};

static void on_chained(const struct fail *fail, void *data)
{
    struct chain *chain = data;

    strv_push(&chain->heard, fail != NULL ? fail_text(fail) : "done");
    if (chain->heard.n_items == 1)
        task_requests_add(chain->requests, on_chained, chain);
}

static void test_requests_that_come_while_others_are_answered_wait(void **state)
{
    struct task_requests requests = STAILQ_HEAD_INITIALIZER(requests);
    struct chain chain = { .requests = &requests };
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    task_requests_answer(&requests, NULL); /* of nobody */
    task_requests_add(&requests, on_chained, &chain);
    task_requests_add(&requests, on_chained, &chain);
    (void)fail_set(&fail, -EIO, "failed");
    task_requests_answer(&requests, &fail);
    assert_int_equal(chain.heard.n_items, 2);
    assert_string_equal(chain.heard.items[1], "failed");
    task_requests_answer(&requests, NULL);
    assert_int_equal(chain.heard.n_items, 3);
    assert_string_equal(chain.heard.items[2], "done");
    assert_true(STAILQ_EMPTY(&requests));
    strv_done(&chain.heard);
}

static void test_stops_are_answered_when_it_has_exited(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);

    (void)state;
    task_requests_add(&scene->task->stops, on_done, scene);
    lifecycle_handle(scene->task, LIFECYCLE_DRAINED, NULL);
    expect_heard(scene, "done");
    scene_free(scene);
}

/* Without a runtime directory nothing was made, and nothing is to be touched. */
static void test_destroy_goes_on_when_it_has_exited(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);
    struct task_waiter *waiter = lifecycle_wait(scene->task, on_exited, scene);

    (void)state;
    assert_non_null(waiter);
    task_requests_add(&scene->task->destroys, on_done, scene);
    scene->task->exit.exit_code = 7;
    lifecycle_handle(scene->task, LIFECYCLE_DRAINED, NULL);
    assert_int_equal(scene->task->state, TASK_REMOVING);
    expect_heard(scene, "");
    event_run_pending(scene->event);
    assert_true(scene->is_gone);
    expect_heard(scene, "exit 7; done");
    assert_int_equal(fake_bus_n_calls(scene->fake, "StopUnit"), 0);
    scene_free(scene);
}

/* --- waiting for the end --------------------------------------------------------------------- */

static void test_waiters_are_told_from_the_loop(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);

    (void)state;
    (void)lifecycle_wait(scene->task, on_exited, scene);
    (void)lifecycle_wait(scene->task, on_exited, scene);
    event_run_pending(scene->event);
    expect_heard(scene, "");
    scene->task->exit.exit_code = 3;
    lifecycle_handle(scene->task, LIFECYCLE_DRAINED, NULL);
    expect_heard(scene, "");
    event_run_pending(scene->event);
    expect_heard(scene, "exit 3; exit 3");
    /* And who comes later, until it is destroyed. */
    (void)lifecycle_wait(scene->task, on_exited, scene);
    expect_heard(scene, "exit 3; exit 3");
    event_run_pending(scene->event);
    expect_heard(scene, "exit 3; exit 3; exit 3");
    scene_free(scene);
}

static void test_freed_waiter_is_silent(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);
    struct task_waiter *waiter = lifecycle_wait(scene->task, on_exited, scene);

    (void)state;
    lifecycle_handle(scene->task, LIFECYCLE_DRAINED, NULL);
    assert_null(task_waiter_free(waiter));
    assert_null(task_waiter_free(NULL));
    event_run_pending(scene->event);
    expect_heard(scene, "");
    (void)lifecycle_wait(scene->task, on_exited, scene); /* freed with its task */
    scene_free(scene);
}

struct pair_of_waiters {
    struct task_waiter *waiters[2];
    unsigned n_told;
};

static void on_exited_free_other(const struct task_exit *exit, void *data)
{
    struct pair_of_waiters *pair = data;

    (void)exit;
    pair->n_told++;
    /* The newest is told first. */
    pair->waiters[0] = task_waiter_free(pair->waiters[0]);
}

static void test_waiter_may_free_another(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);
    struct pair_of_waiters pair = {};

    (void)state;
    pair.waiters[0] = lifecycle_wait(scene->task, on_exited_free_other, &pair);
    pair.waiters[1] = lifecycle_wait(scene->task, on_exited_free_other, &pair);
    lifecycle_handle(scene->task, LIFECYCLE_DRAINED, NULL);
    event_run_pending(scene->event);
    assert_int_equal(pair.n_told, 1);
    scene_free(scene);
}

/* --- what is said ---------------------------------------------------------------------------- */

static void test_first_error_of_the_end_stays(void **state)
{
    struct scene *scene = scene_new(TASK_DRAINING);

    (void)state;
    assert_null(scene->task->exit.error);
    task_set_exit_error(scene->task, "first");
    task_set_exit_error(scene->task, "second");
    assert_string_equal(scene->task->exit.error, "first");
    scene_free(scene);
}

static void on_event(const struct task_event *event, void *data)
{
    struct scene *scene = data;

    assert_string_equal(event->task_id, ID);
    assert_string_equal(event->alloc_id, ALLOC);
    assert_string_equal(event->task_name, "web");
    strv_push(&scene->heard, event->message);
}

static void test_what_a_task_tells_carries_its_name(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);
    struct event_watch *watch = task_events_watch(scene->host.events, on_event, scene);

    (void)state;
    task_tell(scene->task, NULL, "%s %d", "code", 7);
    event_run_pending(scene->event);
    expect_heard(scene, "code 7");
    event_watch_free(watch);
    scene_free(scene);
}

static void test_end_of_the_plugin_is_told_once_to_who_waits(void **state)
{
    struct scene *scene = scene_new(TASK_STARTING);

    (void)state;
    task_requests_add(&scene->task->stops, on_done, scene);
    task_requests_add(&scene->task->destroys, on_done, scene);
    lifecycle_abandon(scene->task);
    expect_heard(scene, "the plugin is ending; the plugin is ending");
    lifecycle_abandon(scene->task);
    expect_heard(scene, "the plugin is ending; the plugin is ending");
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_pair_of_states_is_legal_or_aborts),
        FD_LEAK_TEST(test_every_state_has_a_name_of_its_own),
        FD_LEAK_TEST(test_container_may_live_until_it_is_drained),
        FD_LEAK_TEST(test_names_follow_from_the_task),
        FD_LEAK_TEST(test_requests_that_come_while_others_are_answered_wait),
        FD_LEAK_TEST(test_stops_are_answered_when_it_has_exited),
        FD_LEAK_TEST(test_destroy_goes_on_when_it_has_exited),
        FD_LEAK_TEST(test_waiters_are_told_from_the_loop),
        FD_LEAK_TEST(test_freed_waiter_is_silent),
        FD_LEAK_TEST(test_waiter_may_free_another),
        FD_LEAK_TEST(test_first_error_of_the_end_stays),
        FD_LEAK_TEST(test_what_a_task_tells_carries_its_name),
        FD_LEAK_TEST(test_end_of_the_plugin_is_told_once_to_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
