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
#include "reactor/flow.h"
#include "reactor/strv.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

struct subject {
    sd_event *event;
    struct flow *flow;
    struct strv steps; /* that were run, and "done" */
    struct fail fail;
    bool keeps_flow;
};

static int step_one(void *data, struct fail *fail)
{
    struct subject *subject = data;

    (void)fail;
    strv_push(&subject->steps, "one");
    return 0;
}

static int step_two(void *data, struct fail *fail)
{
    struct subject *subject = data;

    (void)fail;
    strv_push(&subject->steps, "two");
    return 0;
}

static int step_wait(void *data, struct fail *fail)
{
    struct subject *subject = data;

    (void)fail;
    strv_push(&subject->steps, "wait");
    return FLOW_WAIT;
}

static int step_fail(void *data, struct fail *fail)
{
    struct subject *subject = data;

    strv_push(&subject->steps, "fail");
    return fail_set_recoverable(fail, -ENOENT, "no image");
}

static int step_fail_silently(void *data, struct fail *fail)
{
    (void)data;
    (void)fail;
    return -EIO;
}

static void on_done(const struct fail *fail, void *data)
{
    struct subject *subject = data;

    strv_push(&subject->steps, "done");
    if (fail != NULL)
        fail_copy(&subject->fail, fail);
    if (!subject->keeps_flow)
        subject->flow = flow_free(subject->flow);
    /* What was told stays valid until this returns. */
    if (fail != NULL)
        assert_string_equal(fail_text(fail), fail_text(&subject->fail));
}

static struct subject *start(const struct flow_step *steps)
{
    struct subject *subject = ALLOC_NEW(struct subject);

    assert_true(sd_event_new(&subject->event) >= 0);
    subject->flow = flow_start(subject->event, steps, on_done, subject);
    assert_int_equal(subject->steps.n_items, 0);
    return subject;
}

static void expect_steps(struct subject *subject, const char *expected)
{
    event_run_pending(subject->event);
    CLEANUP_FREE char *steps = strv_join(&subject->steps, " ");
    assert_string_equal(steps, expected);
    assert_int_equal(event_count_during(subject->event, 5000), 0);
}

static void end(struct subject *subject)
{
    flow_free(subject->flow);
    sd_event_unref(subject->event);
    strv_done(&subject->steps);
    fail_done(&subject->fail);
    free(subject);
}

static void test_steps_run_once_in_order(void **state)
{
    static const struct flow_step steps[] = { { "one", step_one }, { "two", step_two },
                                              { "one", step_one }, {} };
    struct subject *subject = start(steps);

    (void)state;
    expect_steps(subject, "one two one done");
    assert_int_equal(subject->fail.error, 0);
    assert_null(subject->flow);
    end(subject);
}

static void test_flow_without_steps_is_done_later(void **state)
{
    static const struct flow_step steps[] = { {} };
    struct subject *subject = start(steps);

    (void)state;
    expect_steps(subject, "done");
    end(subject);
}

static void test_flow_waits_until_it_is_continued(void **state)
{
    static const struct flow_step steps[] = { { "one", step_one }, { "wait", step_wait },
                                              { "two", step_two }, { "last", step_wait }, {} };
    struct subject *subject = start(steps);

    (void)state;
    assert_string_equal(flow_step_name(subject->flow), "one");
    expect_steps(subject, "one wait");
    assert_string_equal(flow_step_name(subject->flow), "wait");
    flow_continue(subject->flow);
    assert_int_equal(subject->steps.n_items, 2); /* not from inside */
    expect_steps(subject, "one wait two wait");
    assert_string_equal(flow_step_name(subject->flow), "last");
    flow_continue(subject->flow);
    assert_string_equal(flow_step_name(subject->flow), "end");
    expect_steps(subject, "one wait two wait done");
    end(subject);
}

static void test_failed_step_is_the_last(void **state)
{
    static const struct flow_step steps[] = { { "one", step_one }, { "fail", step_fail },
                                              { "two", step_two }, {} };
    struct subject *subject = start(steps);

    (void)state;
    expect_steps(subject, "one fail done");
    assert_true(subject->fail.recoverable);
    expect_fail(subject->fail.error, &subject->fail, -ENOENT, "no image");
    end(subject);
}

static void test_failure_without_a_word_names_its_step(void **state)
{
    static const struct flow_step steps[] = { { "find the image", step_fail_silently }, {} };
    struct subject *subject = start(steps);

    (void)state;
    expect_steps(subject, "done");
    expect_fail(subject->fail.error, &subject->fail, -EIO, "find the image failed");
    end(subject);
}

static void test_wait_that_fails_ends_the_flow(void **state)
{
    static const struct flow_step steps[] = { { "wait", step_wait }, { "two", step_two }, {} };
    struct subject *subject = start(steps);
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_steps(subject, "wait");
    (void)fail_set_recoverable(&fail, -EBUSY, "busy");
    flow_fail(subject->flow, &fail);
    assert_int_equal(subject->steps.n_items, 1);
    fail_done(&fail); /* it has a copy */
    expect_steps(subject, "wait done");
    assert_true(subject->fail.recoverable);
    expect_fail(subject->fail.error, &subject->fail, -EBUSY, "busy");
    end(subject);
}

static void test_flow_may_be_kept_after_its_end(void **state)
{
    static const struct flow_step steps[] = { { "one", step_one }, {} };
    struct subject *subject = start(steps);

    (void)state;
    subject->keeps_flow = true;
    expect_steps(subject, "one done");
    assert_non_null(subject->flow);
    end(subject);
}

static void test_freed_flow_says_nothing(void **state)
{
    static const struct flow_step steps[] = { { "one", step_one }, { "wait", step_wait }, {} };
    struct subject *subject = start(steps);

    (void)state;
    subject->flow = flow_free(subject->flow);
    expect_steps(subject, "");
    end(subject);

    subject = start(steps);
    expect_steps(subject, "one wait");
    flow_continue(subject->flow);
    subject->flow = flow_free(subject->flow);
    expect_steps(subject, "one wait");
    assert_null(flow_free(NULL));
    end(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_steps_run_once_in_order),
        FD_LEAK_TEST(test_flow_without_steps_is_done_later),
        FD_LEAK_TEST(test_flow_waits_until_it_is_continued),
        FD_LEAK_TEST(test_failed_step_is_the_last),
        FD_LEAK_TEST(test_failure_without_a_word_names_its_step),
        FD_LEAK_TEST(test_wait_that_fails_ends_the_flow),
        FD_LEAK_TEST(test_flow_may_be_kept_after_its_end),
        FD_LEAK_TEST(test_freed_flow_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
