#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"

#define ERROR "org.freedesktop.DBus.Error."

static const struct bus_object object = { "a.b", "/a/b", "a.b.Interface" };

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct bus *bus;
    char *asked; /* "<interface>.<member>(<first string>, <second>)" */
};

/* One op, and what came of it. */
struct asked {
    struct scene *scene;
    struct bus_op *op;
    bool was_done;
    char *answer, *error; /* name of the error */
    void (*also)(struct asked *asked);
    struct asked *other;
};

static int on_call(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                   sd_bus_error *error, void *data)
{
    struct scene *scene = data;
    const char *first = "", *second = "";

    (void)fake;
    (void)error;
    assert_string_equal(sd_bus_message_get_destination(call), "a.b");
    assert_string_equal(sd_bus_message_get_path(call), "/a/b");
    if (sd_bus_message_has_signature(call, "s") > 0)
        assert_true(sd_bus_message_read(call, "s", &first) >= 0);
    else if (sd_bus_message_has_signature(call, "ss") > 0)
        assert_true(sd_bus_message_read(call, "ss", &first, &second) >= 0);
    free(scene->asked);
    scene->asked = alloc_printf("%s.%s(%s, %s)", sd_bus_message_get_interface(call),
                                sd_bus_message_get_member(call), first, second);
    return sd_bus_message_append(reply, "s", "the answer");
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

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    fake_bus_method(scene->fake, "Ask", on_call, scene);
    fake_bus_method(scene->fake, "Get", on_call, scene);
    fake_bus_method(scene->fake, "GetAll", on_call, scene);
    scene->bus = bus_new(scene->event, fake_bus_address(scene->fake));
    assert_true(event_run_until(scene->event, is_up, scene));
    return scene;
}

static void scene_free(struct scene *scene)
{
    bus_free(scene->bus);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    free(scene->asked);
    free(scene);
}

static void asked_done(struct asked *asked)
{
    asked->op = bus_op_free(asked->op);
    free(asked->answer);
    free(asked->error);
}

#define CLEANUP_ASKED CLEANUP(asked_done)

static void on_done(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct asked *asked = data;
    const char *answer = NULL;

    asked->op = NULL;
    assert_false(asked->was_done);
    asked->was_done = true;
    assert_true((reply == NULL) == (error != NULL));
    if (reply != NULL)
        assert_true(sd_bus_message_read(reply, "s", &answer) >= 0);
    asked->answer = alloc_strdup(answer);
    asked->error = error != NULL ? alloc_strdup(error->name) : NULL;
    if (error != NULL)
        assert_true(error->message[0] != '\0');
    if (asked->also != NULL)
        asked->also(asked);
}

static void ask(struct scene *scene, struct asked *asked)
{
    asked->scene = scene;
    asked->op = bus_op_call(scene->bus, &object, "Ask", on_done, asked, "s", "a question");
    assert_false(asked->was_done); /* never from inside */
    assert_non_null(asked->op);
}

static void await_done(struct asked *asked)
{
    assert_true(event_run_until_set(asked->scene->event, &asked->was_done));
    event_run_pending(asked->scene->event); /* no second answer comes behind */
}

static void expect_error(const struct asked *asked, const char *name)
{
    assert_null(asked->answer);
    assert_string_equal(asked->error, name);
}

static void test_call_is_answered(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = {};

    (void)state;
    ask(scene, &asked);
    await_done(&asked);
    assert_string_equal(asked.answer, "the answer");
    assert_string_equal(scene->asked, "a.b.Interface.Ask(a question, )");
    scene_free(scene);
}

static void test_properties_are_asked_for_by_the_object_s_interface(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked one = { .scene = scene }, all = { .scene = scene };

    (void)state;
    one.op = bus_op_get(scene->bus, &object, "Version", on_done, &one);
    await_done(&one);
    assert_string_equal(scene->asked,
                        "org.freedesktop.DBus.Properties.Get(a.b.Interface, Version)");
    all.op = bus_op_get_all(scene->bus, &object, on_done, &all);
    await_done(&all);
    assert_string_equal(scene->asked, "org.freedesktop.DBus.Properties.GetAll(a.b.Interface, )");
    scene_free(scene);
}

static void test_error_reply_is_the_answer(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = {};

    (void)state;
    fake_bus_refuse(scene->fake, "Ask", "a.b.No", "never");
    ask(scene, &asked);
    await_done(&asked);
    expect_error(&asked, "a.b.No");
    scene_free(scene);
}

static void test_call_that_cannot_be_made_is_answered_from_the_loop(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = { .scene = scene };

    (void)state;
    asked.op = bus_op_call(scene->bus, &object, "Ask", on_done, &asked, "o", "not a path");
    assert_false(asked.was_done);
    await_done(&asked);
    expect_error(&asked, SD_BUS_ERROR_INVALID_ARGS);
    assert_int_equal(fake_bus_n_calls(scene->fake, "Ask"), 0);
    scene_free(scene);
}

/* A service that is slow is not a bus that is gone. */
static void test_answer_that_takes_too_long_is_an_error(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = { .scene = scene };
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;

    (void)state;
    fake_bus_hold(scene->fake);
    assert_true(sd_bus_message_new_method_call(bus_get(scene->bus), &message, "a.b", "/a/b", "a.b",
                                               "Ask") >= 0);
    asked.op = bus_op_send(scene->bus, message, 1000, on_done, &asked);
    await_done(&asked);
    assert_string_not_equal(asked.error, BUS_OP_GONE);
    assert_non_null(bus_get(scene->bus));
    fake_bus_release(scene->fake);
    event_run_pending(scene->event);
    scene_free(scene);
}

/* --- the bus goes ---------------------------------------------------------------------------- */

static void test_without_a_bus_it_is_gone(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = {};

    (void)state;
    fake_bus_vanish(scene->fake);
    assert_true(event_run_until(scene->event, is_down, scene));
    ask(scene, &asked);
    await_done(&asked);
    expect_error(&asked, BUS_OP_GONE);
    scene_free(scene);
}

static void test_bus_that_vanishes_before_it_is_noticed_is_gone(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked asked = {};

    (void)state;
    fake_bus_vanish(scene->fake);
    assert_non_null(bus_get(scene->bus));
    ask(scene, &asked);
    await_done(&asked);
    expect_error(&asked, BUS_OP_GONE);
    scene_free(scene);
}

static void ask_other(struct asked *asked)
{
    ask(asked->scene, asked->other);
}

static void test_bus_that_vanishes_meanwhile_is_gone_for_all(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked again = {}, first = { .also = ask_other, .other = &again };
    CLEANUP_ASKED struct asked second = {};

    (void)state;
    fake_bus_hold(scene->fake);
    ask(scene, &first);
    ask(scene, &second);
    assert_true(fake_bus_await_calls(scene->fake, "Ask", 2));
    assert_false(first.was_done || second.was_done);
    fake_bus_vanish(scene->fake);
    await_done(&first);
    await_done(&second);
    expect_error(&first, BUS_OP_GONE);
    expect_error(&second, BUS_OP_GONE);
    /* Asked on the connection that was just ending. */
    await_done(&again);
    expect_error(&again, BUS_OP_GONE);
    scene_free(scene);
}

static void test_next_connection_is_another_one(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked lost = {}, asked = {};

    (void)state;
    fake_bus_hold(scene->fake);
    ask(scene, &lost);
    assert_true(fake_bus_await_calls(scene->fake, "Ask", 1));
    fake_bus_vanish(scene->fake);
    await_done(&lost);
    assert_true(event_run_until(scene->event, is_down, scene));
    fake_bus_release(scene->fake);
    fake_bus_appear(scene->fake);
    assert_true(event_run_until(scene->event, is_up, scene));
    ask(scene, &asked);
    await_done(&asked);
    assert_string_equal(asked.answer, "the answer");
    scene_free(scene);
}

/* --- freeing --------------------------------------------------------------------------------- */

static void test_freed_op_has_no_answer(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked at_once = {}, later = {}, unsent = {};

    (void)state;
    ask(scene, &at_once);
    at_once.op = bus_op_free(at_once.op);
    fake_bus_hold(scene->fake);
    ask(scene, &later);
    assert_true(fake_bus_await_calls(scene->fake, "Ask", 2));
    later.op = bus_op_free(later.op);
    fake_bus_release(scene->fake);
    event_run_pending(scene->event);
    fake_bus_vanish(scene->fake);
    assert_true(event_run_until(scene->event, is_down, scene));
    ask(scene, &unsent);
    unsent.op = bus_op_free(unsent.op);
    event_run_pending(scene->event);
    assert_false(at_once.was_done || later.was_done || unsent.was_done);
    assert_null(bus_op_free(NULL));
    scene_free(scene);
}

static void free_other(struct asked *asked)
{
    asked->other->op = bus_op_free(asked->other->op);
}

/* Both answers have arrived when the first is told. */
static void test_op_is_freed_in_the_answer_of_another(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked second = {}, first = { .also = free_other, .other = &second };

    (void)state;
    fake_bus_hold(scene->fake);
    ask(scene, &first);
    ask(scene, &second);
    assert_true(fake_bus_await_calls(scene->fake, "Ask", 2));
    fake_bus_release(scene->fake);
    await_done(&first);
    assert_false(second.was_done);
    scene_free(scene);
}

static void test_op_is_freed_in_another_s_end_with_the_bus(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked second = {}, first = { .also = free_other, .other = &second };

    (void)state;
    fake_bus_hold(scene->fake);
    ask(scene, &first);
    ask(scene, &second);
    assert_true(fake_bus_await_calls(scene->fake, "Ask", 2));
    fake_bus_vanish(scene->fake);
    await_done(&first);
    assert_true(event_run_until(scene->event, is_down, scene));
    assert_false(second.was_done);
    scene_free(scene);
}

static void test_answer_may_lead_to_the_next_question(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_ASKED struct asked second = {}, first = { .also = ask_other, .other = &second };

    (void)state;
    ask(scene, &first);
    await_done(&first);
    await_done(&second);
    assert_string_equal(second.answer, "the answer");
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_call_is_answered),
        FD_LEAK_TEST(test_properties_are_asked_for_by_the_object_s_interface),
        FD_LEAK_TEST(test_error_reply_is_the_answer),
        FD_LEAK_TEST(test_call_that_cannot_be_made_is_answered_from_the_loop),
        FD_LEAK_TEST(test_answer_that_takes_too_long_is_an_error),
        FD_LEAK_TEST(test_without_a_bus_it_is_gone),
        FD_LEAK_TEST(test_bus_that_vanishes_before_it_is_noticed_is_gone),
        FD_LEAK_TEST(test_bus_that_vanishes_meanwhile_is_gone_for_all),
        FD_LEAK_TEST(test_next_connection_is_another_one),
        FD_LEAK_TEST(test_freed_op_has_no_answer),
        FD_LEAK_TEST(test_op_is_freed_in_the_answer_of_another),
        FD_LEAK_TEST(test_op_is_freed_in_another_s_end_with_the_bus),
        FD_LEAK_TEST(test_answer_may_lead_to_the_next_question),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
