#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_user.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    int r = fclose(file);
    assert_int_equal(r, 0);
}

/* Files of our own over those of the machine, in this process's mount namespace. */
static int setup(void **state)
{
    (void)private_run_or_skip(state);
    return mount("tmpfs", "/etc", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
}

static int without_files(void **state)
{
    (void)unlink("/etc/passwd");
    (void)unlink("/etc/group");
    return fd_leak_setup(state);
}

static int with_files(void **state)
{
    write_file("/etc/passwd", "root:x:0:0:root:/var/root:/bin/bash\n"
                              "broken:x\n"
                              "huge:x:99999999999:1:::\n"
                              "minus:x:4294967295:1:::\n"
                              "worker:x:1000:100:A worker:/home/worker:/bin/ash\n"
                              "plain:x:1001:1001::: \n"
                              "last:x:1002:1002::/last:");
    write_file("/etc/group", "users:x:100:worker\n"
                             "wheel:x:10:root,worker\n"
                             "like:x:11:workers,work\n"
                             "broken\n"
                             "audio:x:29:plain,worker,other\n");
    return fd_leak_setup(state);
}

static void assert_user(const char *user, uid_t uid, gid_t gid, const char *name, const char *home,
                        const char *shell)
{
    CLEANUP(inside_user_done) struct inside_user found;

    assert_int_equal(inside_user_find(user, &found), 0);
    assert_int_equal(found.uid, uid);
    assert_int_equal(found.gid, gid);
    assert_string_equal(found.name, name);
    assert_string_equal(found.home, home);
    assert_string_equal(found.shell, shell);
}

static void test_a_user_is_found_by_name_and_by_number(void **state)
{
    (void)state;
    assert_user("worker", 1000, 100, "worker", "/home/worker", "/bin/ash");
    assert_user("1000", 1000, 100, "worker", "/home/worker", "/bin/ash");
    assert_user(NULL, 0, 0, "root", "/var/root", "/bin/bash");
    assert_user("0", 0, 0, "root", "/var/root", "/bin/bash");
}

static void test_what_an_entry_leaves_out_has_a_default(void **state)
{
    (void)state;
    assert_user("plain", 1001, 1001, "plain", "/", " ");
    assert_user("last", 1002, 1002, "last", "/last", "/bin/sh");
}

static void test_groups_are_those_that_name_the_user(void **state)
{
    CLEANUP(inside_user_done) struct inside_user found;

    (void)state;
    assert_int_equal(inside_user_find("worker", &found), 0);
    assert_int_equal(found.n_groups, 2);
    assert_int_equal(found.groups[0], 10);
    assert_int_equal(found.groups[1], 29);
}

static void test_entries_that_are_none_are_passed_over(void **state)
{
    struct inside_user found;

    (void)state;
    assert_int_equal(inside_user_find("broken", &found), -ESRCH);
    assert_int_equal(inside_user_find("huge", &found), -ESRCH);
    assert_int_equal(inside_user_find("minus", &found), -ESRCH);
    assert_int_equal(inside_user_find("", &found), -ESRCH);
    assert_int_equal(inside_user_find("4294967295", &found), -ESRCH);
    assert_int_equal(inside_user_find("nobody-here", &found), -ESRCH);
}

static void test_numbers_and_root_need_no_files(void **state)
{
    struct inside_user found;

    (void)state;
    assert_user("1234", 1234, 1234, "1234", "/", "/bin/sh");
    assert_user("root", 0, 0, "root", "/root", "/bin/sh");
    assert_user("0", 0, 0, "root", "/root", "/bin/sh");
    assert_int_equal(inside_user_find("worker", &found), -ESRCH);
}

static int run_switched(const struct inside_user *user)
{
    gid_t groups[8];

    if (inside_user_switch(user) < 0)
        return 10;
    if (getuid() != 1000 || geteuid() != 1000 || getgid() != 100 || getegid() != 100)
        return 11;
    if (getgroups(8, groups) != 2 || groups[0] != 10 || groups[1] != 29)
        return 12;
    return setuid(0) == 0 ? 13 : 0;
}

static void test_a_switch_is_whole_and_for_good(void **state)
{
    CLEANUP(inside_user_done) struct inside_user user;
    int status;

    (void)state;
    assert_int_equal(inside_user_find("worker", &user), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_switched(&user));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(setup, test) cmocka_unit_test_setup_teardown(test, setup, fd_leak_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_files, test_a_user_is_found_by_name_and_by_number),
        TEST(with_files, test_what_an_entry_leaves_out_has_a_default),
        TEST(with_files, test_groups_are_those_that_name_the_user),
        TEST(with_files, test_entries_that_are_none_are_passed_over),
        TEST(with_files, test_a_switch_is_whole_and_for_good),
        TEST(without_files, test_numbers_and_root_need_no_files),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
