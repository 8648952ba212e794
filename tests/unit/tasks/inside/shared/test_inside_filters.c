#include <errno.h>
#include <linux/filter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/security/filter_list.h"

static void test_what_is_a_list(void **state)
{
    struct filter_list list = {};

    (void)state;
    assert_int_equal(inside_filters_check(NULL, 0), 0);
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    filter_list_append_refusal(&list, SYS_getpgid, EDOM);
    assert_int_equal(inside_filters_check(list.bytes, list.n), 0);
}

static void test_a_list_cut_within_a_program_is_refused(void **state)
{
    struct filter_list list = {};

    (void)state;
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    size_t first = list.n;
    filter_list_append_refusal(&list, SYS_getpgid, EDOM);
    for (size_t n = 1; n < list.n; n++) {
        CLEANUP_FREE uint8_t *cut = malloc(n);
        memcpy(cut, list.bytes, n);
        assert_int_equal(inside_filters_check(cut, n), n == first ? 0 : -EBADMSG);
    }
}

static void test_programs_of_no_or_too_many_instructions_are_refused(void **state)
{
    const uint32_t none = 0, many = INSIDE_FILTERS_PROGRAM_MAX + 1, most = UINT32_MAX;
    CLEANUP_FREE uint8_t *bytes = calloc(1, sizeof(uint32_t) + many * sizeof(struct sock_filter));

    (void)state;
    assert_int_equal(inside_filters_check((const uint8_t *)&none, sizeof(none)), -EBADMSG);
    assert_int_equal(inside_filters_check((const uint8_t *)&most, sizeof(most)), -EBADMSG);
    memcpy(bytes, &many, sizeof(many));
    assert_int_equal(
            inside_filters_check(bytes, sizeof(uint32_t) + many * sizeof(struct sock_filter)),
            -EBADMSG);
}

/* In a child, which is then another process than before. */
static int run_filtered(const struct filter_list *list)
{
    long parent, group;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return 10;
    if (inside_filters_install(list->bytes, list->n) < 0)
        return 11;
    parent = syscall(SYS_getppid);
    if (parent >= 0 || errno != ENOTTY)
        return 12;
    group = syscall(SYS_getpgid, 0);
    return group >= 0 || errno != EDOM ? 13 : 0;
}

static void test_all_programs_of_a_list_act(void **state)
{
    struct filter_list list = {};
    int status;

    (void)state;
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    filter_list_append_refusal(&list, SYS_getpgid, EDOM);
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_filtered(&list));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Else it would be refused only after the first one acts. */
static void test_a_damaged_list_installs_nothing(void **state)
{
    struct filter_list list = {};

    (void)state;
    filter_list_append_refusal(&list, SYS_getppid, ENOTTY);
    filter_list_append_refusal(&list, SYS_getpgid, EDOM);
    assert_int_equal(inside_filters_install(list.bytes, list.n - 1), -EBADMSG);
    assert_int_equal(prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_is_a_list),
        FD_LEAK_TEST(test_a_list_cut_within_a_program_is_refused),
        FD_LEAK_TEST(test_programs_of_no_or_too_many_instructions_are_refused),
        FD_LEAK_TEST(test_all_programs_of_a_list_act),
        FD_LEAK_TEST(test_a_damaged_list_installs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
