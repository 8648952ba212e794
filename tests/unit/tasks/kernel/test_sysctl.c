/* Values of a network namespace of the test's own. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tasks/kernel/sysctl.h"
#include "tests/support/fd_leak.h"

static void test_value_is_read_without_its_newline(void **state)
{
    char type[64], release[4] = "x";

    (void)state;
    assert_int_equal(sysctl_read("kernel/ostype", type, sizeof(type)), 0);
    assert_string_equal(type, "Linux");
    /* No half of a value. */
    assert_int_equal(sysctl_read("kernel/ostype", release, sizeof(release)), -EFBIG);
    assert_string_equal(release, "x");
    assert_int_equal(sysctl_read("kernel/nothing", type, sizeof(type)), -ENOENT);
    assert_string_equal(type, "Linux");
}

#define FORWARD "net/ipv4/ip_forward"

/* 0: well; 77: not allowed to make a namespace. */
static int write_in_own_namespace(void)
{
    char text[8];

    if (unshare(CLONE_NEWNET) < 0)
        return 77;
    for (int i = 0; i < 2; i++) {
        const char *value = i == 0 ? "1" : "0";

        if (sysctl_write(FORWARD, value) != 0 || sysctl_read(FORWARD, text, sizeof(text)) != 0 ||
            text[0] != value[0] || text[1] != '\0')
            return 1;
    }
    return sysctl_write(FORWARD, "much") == -EINVAL ? 0 : 2;
}

static void test_value_is_written(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(write_in_own_namespace());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Nobody may write this one. */
static void test_what_is_so_already_is_not_written(void **state)
{
    (void)state;
    assert_int_equal(sysctl_write("kernel/ostype", "Linux"), 0);
    assert_true(sysctl_write("kernel/ostype", "Other") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_value_is_read_without_its_newline),
        FD_LEAK_TEST(test_value_is_written),
        FD_LEAK_TEST(test_what_is_so_already_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
