/* Command lines that differ, and the files of this very process. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/security/seccomp_key.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

static char *key_of(const char *const *arguments)
{
    CLEANUP(strv_done) struct strv argv = {};
    char *key = NULL;

    strv_push(&argv, "/bin/sh");
    for (; *arguments != NULL; arguments++)
        strv_push(&argv, *arguments);
    assert_int_equal(seccomp_key(&argv, &key), 0);
    return key;
}

static void expect(const char *const *one, const char *const *other, bool same)
{
    CLEANUP_FREE char *key = key_of(one), *other_key = key_of(other);

    if (same)
        assert_string_equal(key, other_key);
    else
        assert_string_not_equal(key, other_key);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_names_and_places_make_no_difference(void **state)
{
    (void)state;
    expect(ARGS("--quiet", "--machine=a", "--directory=/a", "--bind=/x:/y", "--private-users=pick",
                "--", "/init"),
           ARGS("--machine=b", "--directory=/b", "--private-users=65536:65536", "--read-only",
                "--hostname=h", "--", "/other"),
           true);
}

static void test_all_else_does(void **state)
{
    (void)state;
    expect(ARGS("--machine=a"), ARGS("--machine=a", "--capability=CAP_SYS_MODULE"), false);
    expect(ARGS("--capability=CAP_SYS_MODULE"), ARGS("--capability=CAP_NET_ADMIN"), false);
    expect(ARGS("--private-users=pick"), ARGS("--quiet"), false);
    expect(ARGS("--system-call-filter=@keyring"), ARGS("--quiet"), false);
    expect(ARGS("--network-veth"), ARGS("--quiet"), false);
    expect(ARGS("--something-new"), ARGS("--quiet"), false);
}

static void test_file_that_changes_is_another(void **state)
{
    CLEANUP_FREE char *dir = scratch_dir_new(), *path = scratch_dir_path(dir, "library");
    CLEANUP_FREE char *identity = NULL;

    (void)state;
    scratch_dir_write(dir, "library", "one");
    assert_int_equal(seccomp_key_identity(path, &identity), 0);
    CLEANUP_FREE char *line = alloc_printf("%s\t%s", identity, path);
    assert_true(seccomp_key_is_current(line, strlen(line)));
    assert_false(seccomp_key_is_current(line, strlen(line) - 1));
    assert_false(seccomp_key_is_current(line, strlen(identity)));
    assert_false(seccomp_key_is_current(line, 0));
    scratch_dir_write(dir, "library", "other");
    assert_false(seccomp_key_is_current(line, strlen(line)));
    (void)scratch_dir_free(TAKE_PTR(dir));
}

static void test_files_of_a_process(void **state)
{
    CLEANUP(strv_done) struct strv files = {};
    CLEANUP_FREE char *program = realpath("/proc/self/exe", NULL);

    (void)state;
    assert_int_equal(seccomp_key_mapped(getpid(), "/bin/sh", &files), -ESTALE);
    assert_int_equal(files.n_items, 0);
    assert_int_equal(seccomp_key_mapped(getpid(), program, &files), 0);
    CLEANUP_FREE char *list = strv_join(&files, "\n");
    assert_non_null(strstr(list, program));
    assert_non_null(strstr(list, "/libc.so.6"));
    assert_true(seccomp_key_is_current(list, strlen(list)));
}

static void test_program_that_is_missing_is_told(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    CLEANUP_FREE char *key = NULL;

    (void)state;
    strv_push(&argv, "/no/such/nspawn");
    assert_int_equal(seccomp_key(&argv, &key), -ENOENT);
    assert_null(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_names_and_places_make_no_difference),
        FD_LEAK_TEST(test_all_else_does),
        FD_LEAK_TEST(test_file_that_changes_is_another),
        FD_LEAK_TEST(test_files_of_a_process),
        FD_LEAK_TEST(test_program_that_is_missing_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
