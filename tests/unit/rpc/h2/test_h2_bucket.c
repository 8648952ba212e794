#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/h2/h2_bucket.h"
#include "tests/support/fd_leak.h"

#define SEC UINT64_C(1000000)

/* A bucket of 10, refilled by 4 a second, and what is asked of it in this order. */
static const struct {
    uint64_t now_usec;
    uint32_t n;
    bool expected;
} takes[] = {
    { 5 * SEC, 4, true },
    { 5 * SEC, 6, true },
    { 5 * SEC, 1, false },            /* empty */
    { 5 * SEC, 0, true },             /* which is always there */
    { 5 * SEC + SEC / 4 - 1, 1, false },
    { 5 * SEC + SEC / 4, 1, true },   /* the quarter counts from when it was full */
    { 5 * SEC + SEC / 4, 1, false },
    { 4 * SEC, 1, false },            /* a clock that goes back earns nothing */
    { 6 * SEC + SEC / 4, 5, false },  /* four came, and stay when five are asked for */
    { 6 * SEC + SEC / 4, 4, true },
    { 60 * SEC, 11, false },          /* never more than the burst */
    { 60 * SEC, 10, true },
    { 60 * SEC, 1, false },
    { UINT64_MAX, 10, true },         /* no time is too long */
    { UINT64_MAX, 1, false },
};

static void test_takes_are_allowed_up_to_burst_and_rate(void **state)
{
    struct h2_bucket bucket;

    (void)state;
    h2_bucket_init(&bucket, 10, 4, 5 * SEC);
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++)
        if (h2_bucket_take(&bucket, takes[i].n, takes[i].now_usec) != takes[i].expected)
            fail_msg("take %zu: expected %d", i, takes[i].expected);
}

static void test_gifts_fill_up_to_the_burst(void **state)
{
    struct h2_bucket bucket;

    (void)state;
    h2_bucket_init(&bucket, 10, 0, 0);
    assert_true(h2_bucket_take(&bucket, 10, 0));
    h2_bucket_give(&bucket, 3);
    assert_false(h2_bucket_take(&bucket, 4, 0));
    h2_bucket_give(&bucket, UINT32_MAX);
    assert_true(h2_bucket_take(&bucket, 10, 0));
    assert_false(h2_bucket_take(&bucket, 1, SEC));
}

/* Rounding must not punish a peer that keeps to the rate. */
static void test_a_peer_at_the_rate_is_never_refused(void **state)
{
    struct h2_bucket bucket;
    const uint32_t rate = 8192;

    (void)state;
    h2_bucket_init(&bucket, 1, rate, 0);
    for (uint64_t i = 0; i < 3 * rate; i++)
        if (!h2_bucket_take(&bucket, 1, i * (SEC / rate + 1)))
            fail_msg("refused take %u", (unsigned)i);
}

static void test_largest_rate_and_burst_do_not_overflow(void **state)
{
    struct h2_bucket bucket;

    (void)state;
    h2_bucket_init(&bucket, UINT32_MAX, UINT32_MAX, 0);
    assert_true(h2_bucket_take(&bucket, UINT32_MAX, 0));
    assert_true(h2_bucket_take(&bucket, UINT32_MAX, 3599 * SEC));
    assert_false(h2_bucket_take(&bucket, 1, 3599 * SEC));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_takes_are_allowed_up_to_burst_and_rate),
        FD_LEAK_TEST(test_gifts_fill_up_to_the_burst),
        FD_LEAK_TEST(test_a_peer_at_the_rate_is_never_refused),
        FD_LEAK_TEST(test_largest_rate_and_burst_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
