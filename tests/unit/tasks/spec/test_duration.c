#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tasks/spec/duration.h"
#include "tests/support/fd_leak.h"

#define HOUR_USEC UINT64_C(3600000000)

static void test_times_are_sums_of_whole_numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } rows[] = {
        { "1ms", 1000 },       { "500ms", 500000 },        { "10s", 10000000 },
        { "1m30s", 90000000 }, { "30s1m", 90000000 },      { "1s1s", 2000000 },
        { "0m1s", 1000000 },   { "007s", 7000000 },        { "59m59s1000ms", HOUR_USEC },
        { "1h", HOUR_USEC },   { "3600000ms", HOUR_USEC },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t usec = 7;
        if (duration_parse(rows[i].text, HOUR_USEC, &usec) != 0 || usec != rows[i].usec)
            fail_msg("'%s': %llu", rows[i].text, (unsigned long long)usec);
    }
}

static void test_what_is_no_time_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      "0s",  "0",     "10",        "s",    "ms",         "1 s",        " 1s",
        "1s ",   "-1s", "+1s",   "1.5s",      "1S",   "1us",        "1d",         "1sm",
        "1h1ms", "61m", "3601s", "3600001ms", "1mss", "123456789s", "000000001s", "1s1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t usec = 7;
        if (duration_parse(texts[i], HOUR_USEC, &usec) != -EINVAL || usec != 7)
            fail_msg("'%s' is taken", texts[i]);
    }
}

static void test_the_limit_is_the_caller_s(void **state)
{
    uint64_t usec = 0;

    (void)state;
    assert_int_equal(duration_parse("2s", 2000000, &usec), 0);
    assert_int_equal(duration_parse("2s", 1999999, &usec), -EINVAL);
    assert_int_equal(duration_parse("99999999h", UINT64_MAX, &usec), 0);
    assert_int_equal(usec, 99999999 * HOUR_USEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_times_are_sums_of_whole_numbers),
        FD_LEAK_TEST(test_what_is_no_time_is_refused),
        FD_LEAK_TEST(test_the_limit_is_the_caller_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
