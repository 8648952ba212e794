#include "tests/support/expect_abort.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void run_child(void (*run)(void *data), void *data) __attribute__((noreturn));
static void run_child(void (*run)(void *data), void *data)
{
    const struct rlimit no_core = {};

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGABRT, SIG_DFL);
    (void)close(STDERR_FILENO);
    run(data);
    _exit(0);
}

void expect_abort(void (*run)(void *data), void *data)
{
    int status;

    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run_child(run, data);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("it did not abort (wait status %#x)", (unsigned)status);
}
