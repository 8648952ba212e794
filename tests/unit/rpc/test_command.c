#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/command.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/capture.h"

struct answer {
    int status;
    char *out, *err;
};

static int run(const char *first, const char *second)
{
    char name[] = "nomad-driver-nspawn";
    CLEANUP_FREE char *one = alloc_strdup(first);
    CLEANUP_FREE char *two = alloc_strdup(second);
    char *argv[] = { name, one, two, NULL };

    return command_run(1 + (first != NULL) + (second != NULL), argv);
}

static struct answer ask(const char *first, const char *second)
{
    struct capture out = capture_start(STDOUT_FILENO), err = capture_start(STDERR_FILENO);
    struct answer ret = { .status = run(first, second) };

    ret.out = capture_end(&out);
    ret.err = capture_end(&err);
    return ret;
}

static void answer_done(struct answer *answer)
{
    free(answer->out);
    free(answer->err);
}

#define CLEANUP_ANSWER CLEANUP(answer_done)

static void assert_says(const char *text, const char *words)
{
    if (strstr(text, words) == NULL)
        fail_msg("'%s' does not say '%s'", text, words);
}

static void test_without_a_command_it_says_what_it_is_and_how_it_is_used(void **state)
{
    (void)state;
    CLEANUP_ANSWER struct answer answer = ask(NULL, NULL);

    assert_int_equal(answer.status, EXIT_FAILURE);
    assert_string_equal(answer.out, "");
    assert_says(answer.err, "plugin_dir");
    assert_says(answer.err, "plugin \"nomad-driver-nspawn\"");
}

static void test_version_and_help_are_answered_on_stdout(void **state)
{
    (void)state;
    CLEANUP_ANSWER struct answer version = ask("--version", NULL);
    assert_int_equal(version.status, EXIT_SUCCESS);
    assert_string_equal(version.out, "nomad-driver-nspawn " PLUGIN_VERSION "\n");
    assert_string_equal(version.err, "");

    CLEANUP_ANSWER struct answer help = ask("--help", NULL);
    assert_int_equal(help.status, EXIT_SUCCESS);
    assert_says(help.out, "plugin_dir");
    assert_says(help.out, "\n  --help     print this and exit\n"
                          "  --version  print the version and exit\n");
    assert_string_equal(help.err, "");
}

static void test_other_arguments_are_not_understood(void **state)
{
    (void)state;
    CLEANUP_ANSWER struct answer one = ask("--verbose", NULL);
    assert_int_equal(one.status, EXIT_FAILURE);
    assert_string_equal(one.out, "");
    assert_says(one.err, "'--verbose'");
    assert_says(one.err, "--version");

    CLEANUP_ANSWER struct answer two = ask("--version", "--verbose");
    assert_int_equal(two.status, EXIT_FAILURE);
    assert_string_equal(two.out, "");
    assert_says(two.err, "'--verbose'");

    CLEANUP_ANSWER struct answer empty = ask("", NULL);
    assert_int_equal(empty.status, EXIT_FAILURE);
    assert_says(empty.err, "''");
}

static void test_an_answer_that_can_not_be_written_is_a_failure(void **state)
{
    static const char *const names[] = { "--help", "--version" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fflush(NULL);
        int saved_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        CLEANUP_CLOSE int full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        assert_int_equal(dup2(full_fd, STDOUT_FILENO), STDOUT_FILENO);
        int status = run(names[i], NULL);
        assert_int_equal(dup2(saved_fd, STDOUT_FILENO), STDOUT_FILENO);
        close(saved_fd);
        clearerr(stdout);
        assert_int_equal(status, EXIT_FAILURE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_without_a_command_it_says_what_it_is_and_how_it_is_used),
        FD_LEAK_TEST(test_version_and_help_are_answered_on_stdout),
        FD_LEAK_TEST(test_other_arguments_are_not_understood),
        FD_LEAK_TEST(test_an_answer_that_can_not_be_written_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
