#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/signal_name.h"
#include "tests/support/fd_leak.h"

/* signal(7); not by the C library's table, from which the names are parsed. */
static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP },       { "INT", SIGINT },       { "QUIT", SIGQUIT },   { "ILL", SIGILL },
    { "TRAP", SIGTRAP },     { "ABRT", SIGABRT },     { "BUS", SIGBUS },     { "FPE", SIGFPE },
    { "KILL", SIGKILL },     { "USR1", SIGUSR1 },     { "SEGV", SIGSEGV },   { "USR2", SIGUSR2 },
    { "PIPE", SIGPIPE },     { "ALRM", SIGALRM },     { "TERM", SIGTERM },   { "STKFLT", SIGSTKFLT },
    { "CHLD", SIGCHLD },     { "CONT", SIGCONT },     { "STOP", SIGSTOP },   { "TSTP", SIGTSTP },
    { "TTIN", SIGTTIN },     { "TTOU", SIGTTOU },     { "URG", SIGURG },     { "XCPU", SIGXCPU },
    { "XFSZ", SIGXFSZ },     { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF },   { "WINCH", SIGWINCH },
    { "IO", SIGIO },         { "POLL", SIGPOLL },     { "PWR", SIGPWR },     { "SYS", SIGSYS },
    { "IOT", SIGIOT },
};

static void assert_signal(const char *name, int number)
{
    CLEANUP_FAIL struct fail fail = {};
    int r = signal_name_parse(name, &fail);

    if (r != number)
        fail_msg("'%s' is %d; expected %d", name, r, number);
    assert_int_equal(fail.error, 0);
}

static void test_every_name_is_known_with_and_without_sig(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        CLEANUP_FREE char *whole = alloc_printf("SIG%s", signals[i].name);
        assert_signal(signals[i].name, signals[i].number);
        assert_signal(whole, signals[i].number);
    }
}

static void test_case_does_not_matter(void **state)
{
    (void)state;
    assert_signal("sigterm", SIGTERM);
    assert_signal("Term", SIGTERM);
    assert_signal("sIgRtMiN+3", SIGRTMIN + 3);
    assert_signal("rtmax", SIGRTMAX);
}

static void test_every_number_is_a_signal(void **state)
{
    char text[16];

    (void)state;
    for (int number = 1; number <= SIGRTMAX; number++) {
        (void)snprintf(text, sizeof(text), "%d", number);
        assert_signal(text, number);
    }
    assert_signal("09", SIGKILL);
}

static void test_every_realtime_signal_can_be_named_from_both_ends(void **state)
{
    char text[24];

    (void)state;
    assert_signal("SIGRTMIN", SIGRTMIN);
    assert_signal("SIGRTMAX", SIGRTMAX);
    for (int n = 0; n <= SIGRTMAX - SIGRTMIN; n++) {
        (void)snprintf(text, sizeof(text), "SIGRTMIN+%d", n);
        assert_signal(text, SIGRTMIN + n);
        (void)snprintf(text, sizeof(text), "RTMAX-%d", n);
        assert_signal(text, SIGRTMAX - n);
    }
}

static void test_anything_else_is_refused_by_name(void **state)
{
    static const char *const wrong[] = {
        "",           "SIG",        "SIGNOTHING",  "0",           "00",         "65",
        "99",         "100",        "015",         "-1",          "+9",         " 9",
        "9 ",         "9x",         "SIGTERM ",    " SIGTERM",    "SIG9",       "SIGSIGTERM",
        "SIGRTMIN+",  "SIGRTMIN-1", "SIGRTMIN+31", "SIGRTMIN+99", "SIGRTMIN+x", "SIGRTMIN+3x",
        "SIGRTMIN+-1", "SIGRTMAX+1", "SIGRTMAX-31", "SIGRTMAX-",  "SIGRTMIN3",  "RT",
        "99999999999999999999", "SIGRTMIN+99999999999999999999",  "TERM\xff",   "SIGTER",
        "SIGTERMINATE",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CLEANUP_FAIL struct fail fail = {};
        CLEANUP_FREE char *start = alloc_printf("signal '%s': expected one of ", wrong[i]);
        assert_int_equal(signal_name_parse(wrong[i], &fail), -EINVAL);
        assert_int_equal(strncmp(fail_text(&fail), start, strlen(start)), 0);
        assert_non_null(strstr(fail_text(&fail), ", or a number from 1 to "));
    }
}

static void test_refusal_lists_every_name(void **state)
{
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    assert_int_equal(signal_name_parse("none", &fail), -EINVAL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        CLEANUP_FREE char *listed = alloc_printf(" SIG%s,", signals[i].name);
        if (strstr(fail_text(&fail), listed) == NULL)
            fail_msg("SIG%s is not in: %s", signals[i].name, fail_text(&fail));
    }
}

static void test_names_come_back_as_they_were_given(void **state)
{
    (void)state;
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        CLEANUP_FREE char *name = signal_name_format(signal);
        assert_signal(name, signal);
    }
    CLEANUP_FREE char *term = signal_name_format(SIGTERM);
    CLEANUP_FREE char *halt = signal_name_format(SIGRTMIN + 3);
    assert_string_equal(term, "SIGTERM");
    assert_string_equal(halt, "SIGRTMIN+3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_name_is_known_with_and_without_sig),
        FD_LEAK_TEST(test_case_does_not_matter),
        FD_LEAK_TEST(test_every_number_is_a_signal),
        FD_LEAK_TEST(test_every_realtime_signal_can_be_named_from_both_ends),
        FD_LEAK_TEST(test_anything_else_is_refused_by_name),
        FD_LEAK_TEST(test_refusal_lists_every_name),
        FD_LEAK_TEST(test_names_come_back_as_they_were_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
