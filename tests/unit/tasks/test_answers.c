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
#include "reactor/strv.h"
#include "tasks/answers.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

struct scene {
    sd_event *event;
    struct answers *answers;
    struct strv heard;
    unsigned n_more; /* answers that are added from inside of one */
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->answers = answers_new(scene->event);
    return scene;
}

static void scene_free(struct scene *scene)
{
    answers_free(scene->answers);
    sd_event_unref(scene->event);
    strv_done(&scene->heard);
    free(scene);
}

static void on_done(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    strv_push(&scene->heard, fail != NULL ? fail_text(fail) : "success");
    if (scene->n_more > 0) {
        scene->n_more--;
        answers_add(scene->answers, on_done, scene, NULL);
    }
}

static void on_started(const struct task_started *started, const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_null(started);
    strv_printf(&scene->heard, "start: %s", fail_text(fail));
}

static void expect_heard(struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *heard = strv_join(&scene->heard, "; ");

    assert_string_equal(heard, expected);
}

static void add_three(struct scene *scene)
{
    struct fail fail = {};

    answers_add(scene->answers, on_done, scene, NULL);
    (void)fail_set(&fail, -EINVAL, "wrong");
    answers_add_unstarted(scene->answers, on_started, scene, &fail);
    assert_int_equal(fail.error, 0); /* its content was taken */
    (void)fail_set(&fail, -EBUSY, "busy");
    answers_add(scene->answers, on_done, scene, &fail);
    answers_add(scene->answers, on_done, scene, &fail);
}

static void test_answers_are_given_later_in_order(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    assert_int_equal(event_count_during(scene->event, 5000), 0);
    add_three(scene);
    expect_heard(scene, "");
    event_run_pending(scene->event);
    expect_heard(scene, "success; start: wrong; busy; success");
    assert_int_equal(event_count_during(scene->event, 5000), 0);
    scene_free(scene);
}

static void test_answer_may_lead_to_another(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->n_more = 2;
    answers_add(scene->answers, on_done, scene, NULL);
    event_run_pending(scene->event);
    expect_heard(scene, "success; success; success");
    scene_free(scene);
}

static void test_end_gives_what_waits(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    add_three(scene);
    scene->n_more = 1;
    scene->answers = answers_free(scene->answers);
    expect_heard(scene, "success; start: wrong; busy; success; success");
    assert_null(answers_free(NULL));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_answers_are_given_later_in_order),
        FD_LEAK_TEST(test_answer_may_lead_to_another),
        FD_LEAK_TEST(test_end_gives_what_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
