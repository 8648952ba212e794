#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/grpc/memory.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

#define TRIM_USEC 1000

struct fixture {
    sd_event *event;
    struct memory *memory;
    unsigned n_held; /* so many times it still is */
    unsigned n_asked, n_wanted;
};

static bool is_held(void *data)
{
    struct fixture *f = data;

    f->n_asked++;
    return f->n_asked <= f->n_held;
}

static bool is_asked(void *data)
{
    const struct fixture *f = data;

    return f->n_asked >= f->n_wanted;
}

static void init(struct fixture *f, uint64_t trim_usec)
{
    *f = (struct fixture){};
    assert_true(sd_event_new(&f->event) >= 0);
    f->memory = memory_new(f->event, trim_usec, is_held, f);
}

static void done(struct fixture *f)
{
    f->memory = memory_free(f->memory);
    sd_event_unref(f->event);
}

static void wait_asked(struct fixture *f, unsigned n)
{
    f->n_wanted = n;
    assert_true(event_run_until(f->event, is_asked, f));
    assert_int_equal(f->n_asked, n);
}

static void test_a_burst_wakes_it_once_however_often_it_is_noted(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, TRIM_USEC);
    for (unsigned i = 0; i < 100; i++)
        memory_note_burst(f.memory);
    assert_int_equal(f.n_asked, 0); /* from the loop only */
    wait_asked(&f, 1);
    assert_int_equal(event_count_during(f.event, 5 * TRIM_USEC), 0);
    done(&f);
}

static void test_it_asks_again_while_the_burst_goes_on(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, TRIM_USEC);
    f.n_held = 3;
    memory_note_burst(f.memory);
    wait_asked(&f, 4);
    assert_int_equal(event_count_during(f.event, 5 * TRIM_USEC), 0);
    done(&f);
}

static void test_the_next_burst_wakes_it_again(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, TRIM_USEC);
    memory_note_burst(f.memory);
    wait_asked(&f, 1);
    memory_note_burst(f.memory);
    wait_asked(&f, 2);
    done(&f);
}

static void test_nothing_is_asked_after_the_end(void **state)
{
    struct fixture f;

    (void)state;
    init(&f, 0);
    memory_note_burst(f.memory);
    f.memory = memory_free(f.memory);
    event_run_pending(f.event);
    assert_int_equal(f.n_asked, 0);
    assert_null(memory_free(NULL));
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_burst_wakes_it_once_however_often_it_is_noted),
        FD_LEAK_TEST(test_it_asks_again_while_the_burst_goes_on),
        FD_LEAK_TEST(test_the_next_burst_wakes_it_again),
        FD_LEAK_TEST(test_nothing_is_asked_after_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
