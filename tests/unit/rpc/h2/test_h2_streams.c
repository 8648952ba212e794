#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/h2/h2_limits.h"
#include "rpc/h2/h2_streams.h"
#include "tests/support/expect_abort.h"
#include "tests/support/fd_leak.h"

/* The table looks into none: any addresses do. */
static char places[2 * H2_STREAMS_MAX + 2];

static struct h2_stream *stream_of(uint32_t id)
{
    return (struct h2_stream *)(void *)&places[id];
}

static void add(struct h2_streams *streams, uint32_t id)
{
    h2_streams_add(streams, id, stream_of(id));
}

static void test_each_is_found_and_no_other(void **state)
{
    struct h2_streams streams = {};

    (void)state;
    assert_null(h2_streams_find(&streams, 1));
    for (uint32_t n = 1; n < 40; n++) {
        add(&streams, 4 * n);
        for (uint32_t id = 0; id < 4 * n + 4; id++)
            assert_ptr_equal(h2_streams_find(&streams, id),
                             id % 4 == 0 && id > 0 ? stream_of(id) : NULL);
    }
    h2_streams_done(&streams);
    assert_int_equal(streams.n, 0);
}

/* Each of five, alone and with each other. */
static void test_removing_leaves_the_others(void **state)
{
    (void)state;
    for (unsigned removed = 0; removed < 32; removed++) {
        struct h2_streams streams = {};
        size_t n = 0;

        for (uint32_t i = 0; i < 5; i++)
            add(&streams, 2 * i + 1);
        for (uint32_t i = 0; i < 5; i++)
            if (removed & (1u << i))
                h2_streams_remove(&streams, 2 * i + 1);
        for (uint32_t i = 0; i < 5; i++) {
            struct h2_stream *expected = removed & (1u << i) ? NULL : stream_of(2 * i + 1);
            assert_ptr_equal(h2_streams_find(&streams, 2 * i + 1), expected);
            n += expected != NULL;
        }
        assert_int_equal(streams.n, n);
        add(&streams, 11);
        assert_ptr_equal(h2_streams_find(&streams, 11), stream_of(11));
        h2_streams_done(&streams);
    }
}

static void add_last(void *data)
{
    add(data, 2 * H2_STREAMS_MAX + 1);
}

static void test_it_holds_as_many_as_may_be_open(void **state)
{
    struct h2_streams streams = {};

    (void)state;
    for (uint32_t i = 0; i < H2_STREAMS_MAX; i++)
        add(&streams, 2 * i + 1);
    assert_ptr_equal(h2_streams_find(&streams, 1), stream_of(1));
    assert_ptr_equal(h2_streams_find(&streams, 2 * H2_STREAMS_MAX - 1),
                     stream_of(2 * H2_STREAMS_MAX - 1));
    expect_abort(add_last, &streams);
    h2_streams_done(&streams);
}

static void add_again(void *data)
{
    add(data, 3);
}

static void add_lower(void *data)
{
    add(data, 1);
}

static void remove_lower(void *data)
{
    h2_streams_remove(data, 1);
}

static void remove_higher(void *data)
{
    h2_streams_remove(data, 5);
}

static void test_mistakes_are_no_silent_ones(void **state)
{
    struct h2_streams streams = {};

    (void)state;
    add(&streams, 3);
    expect_abort(add_again, &streams);
    expect_abort(add_lower, &streams);
    expect_abort(remove_lower, &streams);
    expect_abort(remove_higher, &streams);
    h2_streams_done(&streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_each_is_found_and_no_other),
        FD_LEAK_TEST(test_removing_leaves_the_others),
        FD_LEAK_TEST(test_it_holds_as_many_as_may_be_open),
        FD_LEAK_TEST(test_mistakes_are_no_silent_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
