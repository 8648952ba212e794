#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/handshake.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/capture.h"
#include "tests/support/scratch_dir.h"

#define COOKIE "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"

static const char *const variables[] = {
    "NOMAD_PLUGIN_MAGIC_COOKIE", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_CLIENT_CERT",
    "PLUGIN_MULTIPLEX_GRPC",     "PLUGIN_UNIX_SOCKET_DIR",   "PLUGIN_UNIX_SOCKET_GROUP",
    "TMPDIR",
};

/* First in every test: a scratch directory is made in TMPDIR too. */
static void clear_environment(void)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
}

/* --- what is said where ---------------------------------------------------------------------- */

struct answer {
    int answer;
    char *out, *err;
};

static struct answer check(const char *first, const char *second)
{
    char name[] = "nomad-driver-nspawn";
    CLEANUP_FREE char *one = alloc_strdup(first);
    CLEANUP_FREE char *two = alloc_strdup(second);
    char *argv[] = { name, one, two, NULL };
    struct capture out = capture_start(STDOUT_FILENO), err = capture_start(STDERR_FILENO);
    struct answer ret = { .answer = handshake_check(1 + (first != NULL) + (second != NULL), argv) };

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

static void test_only_the_cookie_tells_a_host(void **state)
{
    (void)state;
    clear_environment();
    assert_false(handshake_is_launched());
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", "", 1);
    assert_false(handshake_is_launched());
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE "0", 1);
    assert_false(handshake_is_launched());
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE, 1);
    assert_true(handshake_is_launched());
}

static void test_a_host_is_answered_by_going_on(void **state)
{
    (void)state;
    static const char *const versions[] = { "2", "1,2", "2,3", "1,2,3" };

    clear_environment();
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE, 1);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        setenv("PLUGIN_PROTOCOL_VERSIONS", versions[i], 1);
        CLEANUP_ANSWER struct answer answer = check(NULL, NULL);
        assert_int_equal(answer.answer, 0);
        assert_string_equal(answer.out, "");
        assert_string_equal(answer.err, "");
    }
}

/* The host refuses the line itself, in its own words. */
static void test_a_host_of_another_version_is_told_and_gets_the_line(void **state)
{
    (void)state;
    static const char *const versions[] = { "", "1", "3", "22", "12,20", "x", "2x", ",,", "99999999999999999999" };

    clear_environment();
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE, 1);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        setenv("PLUGIN_PROTOCOL_VERSIONS", versions[i], 1);
        CLEANUP_ANSWER struct answer answer = check(NULL, NULL);
        assert_int_equal(answer.answer, 0);
        assert_says(answer.err, "protocol versions");
    }
}

static void test_a_host_that_wants_tls_is_refused(void **state)
{
    (void)state;
    clear_environment();
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE, 1);
    setenv("PLUGIN_PROTOCOL_VERSIONS", "2", 1);
    setenv("PLUGIN_CLIENT_CERT", "-----BEGIN CERTIFICATE-----", 1);
    CLEANUP_ANSWER struct answer answer = check(NULL, NULL);
    assert_int_equal(answer.answer, -EPROTONOSUPPORT);
    assert_says(answer.err, "PLUGIN_CLIENT_CERT");
    assert_says(answer.err, "\"@level\":\"error\"");

    setenv("PLUGIN_CLIENT_CERT", "", 1);
    CLEANUP_ANSWER struct answer empty = check(NULL, NULL);
    assert_int_equal(empty.answer, 0);
}

static void test_arguments_from_the_agent_are_ignored_aloud(void **state)
{
    (void)state;
    clear_environment();
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", COOKIE, 1);
    setenv("PLUGIN_PROTOCOL_VERSIONS", "2", 1);
    CLEANUP_ANSWER struct answer answer = check("--version", NULL);

    assert_int_equal(answer.answer, 0);
    assert_string_equal(answer.out, "");
    assert_says(answer.err, "'--version'");
}

/* --- the socket ------------------------------------------------------------------------------ */

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

static void listen_ok(struct handshake *handshake)
{
    CLEANUP_FAIL struct fail fail = {};

    if (handshake_listen(handshake, &fail) < 0)
        fail_msg("refused: %s", fail_text(&fail));
}

static void test_socket_is_private_new_and_removed(void **state)
{
    (void)state;
    clear_environment();
    char *dir = scratch_dir_new();
    struct handshake one = HANDSHAKE_INIT, two = HANDSHAKE_INIT;
    struct stat stat_;

    setenv("TMPDIR", dir, 1);
    mode_t old_mask = umask(0);
    listen_ok(&one);
    listen_ok(&two);
    umask(old_mask);
    assert_string_not_equal(one.path, two.path);
    assert_int_equal(strncmp(one.path, dir, strlen(dir)), 0);
    assert_int_equal(strncmp(one.path + strlen(dir), "/plugin", 7), 0);
    assert_int_equal(stat(one.path, &stat_), 0);
    assert_true(S_ISSOCK(stat_.st_mode));
    assert_int_equal(stat_.st_mode & 0777, 0600);
    assert_true((fcntl(one.listen_fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(one.listen_fd, F_GETFL) & O_NONBLOCK) != 0);

    int fd = connect_to(one.path);
    assert_true(fd >= 0);
    close(fd);

    handshake_done(&one);
    handshake_done(&one);
    handshake_done(&two);
    assert_int_equal(rmdir(dir), 0);
    free(dir);
}

static void test_socket_dir_of_the_host_wins_over_tmpdir(void **state)
{
    (void)state;
    clear_environment();
    char *dir = scratch_dir_new();
    struct handshake handshake = HANDSHAKE_INIT;

    setenv("TMPDIR", "/nowhere", 1);
    setenv("PLUGIN_UNIX_SOCKET_DIR", dir, 1);
    listen_ok(&handshake);
    assert_int_equal(strncmp(handshake.path, dir, strlen(dir)), 0);
    handshake_done(&handshake);
    (void)scratch_dir_free(dir);
}

static void test_without_variables_it_is_tmp(void **state)
{
    (void)state;
    struct handshake handshake = HANDSHAKE_INIT;

    clear_environment();
    setenv("TMPDIR", "", 1);
    listen_ok(&handshake);
    assert_int_equal(strncmp(handshake.path, "/tmp/plugin", 11), 0);
    handshake_done(&handshake);
}

static void test_a_relative_directory_becomes_absolute(void **state)
{
    (void)state;
    struct handshake handshake = HANDSHAKE_INIT;

    clear_environment();
    setenv("TMPDIR", "../../../../../../../../tmp/.", 1);
    listen_ok(&handshake);
    assert_int_equal(strncmp(handshake.path, "/tmp/plugin", 11), 0);
    handshake_done(&handshake);
}

static void assert_refused(int error, const char *words)
{
    struct handshake handshake = HANDSHAKE_INIT;
    CLEANUP_FAIL struct fail fail = {};

    assert_int_equal(handshake_listen(&handshake, &fail), error);
    assert_says(fail_text(&fail), words);
    handshake_done(&handshake);
}

static void test_directories_that_cannot_be_are_refused(void **state)
{
    (void)state;
    clear_environment();
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *bar = scratch_dir_path(dir, "a|b");
    CLEANUP_FREE char *line = scratch_dir_path(dir, "a\nb");
    CLEANUP_FREE char *deep = scratch_dir_path(
        dir, "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd");

    setenv("TMPDIR", "/nowhere", 1);
    assert_refused(-ENOENT, "'/nowhere'");
    setenv("TMPDIR", "/dev/null", 1);
    assert_refused(-ENOTDIR, "/dev/null");
    assert_int_equal(mkdir(bar, 0700), 0);
    setenv("TMPDIR", bar, 1);
    assert_refused(-EINVAL, "'|'");
    assert_int_equal(mkdir(line, 0700), 0);
    setenv("TMPDIR", line, 1);
    assert_refused(-EINVAL, "line breaks");
    assert_int_equal(mkdir(deep, 0700), 0);
    setenv("TMPDIR", deep, 1);
    assert_refused(-ENAMETOOLONG, "shorter");
    (void)scratch_dir_free(dir);
}

static void test_group_of_the_host_gets_the_socket(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        gid_t gid;
    } groups[] = { { "4242", 4242 }, { "root", 0 }, { "daemon", 1 } };

    if (geteuid() != 0) {
        print_message("not root: giving a socket to a group cannot be tried\n");
        skip();
    }
    clear_environment();
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        struct handshake handshake = HANDSHAKE_INIT;
        struct stat stat_;

        setenv("PLUGIN_UNIX_SOCKET_GROUP", groups[i].name, 1);
        listen_ok(&handshake);
        assert_int_equal(stat(handshake.path, &stat_), 0);
        assert_int_equal(stat_.st_gid, groups[i].gid);
        assert_int_equal(stat_.st_mode & 0777, 0660);
        handshake_done(&handshake);
    }
}

static void test_groups_that_are_not_there_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = { "no-such-group", "-1", "4294967295", "12x", " 1" };

    clear_environment();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("PLUGIN_UNIX_SOCKET_GROUP", names[i], 1);
        assert_refused(-ENOENT, names[i]);
    }
}

/* --- the line -------------------------------------------------------------------------------- */

static char *announce(const struct handshake *handshake)
{
    CLEANUP_FAIL struct fail fail = {};
    struct stat stat_ = {};
    struct capture out = capture_start(STDOUT_FILENO);

    int r = handshake_announce(handshake, &fail);
    (void)fstat(STDOUT_FILENO, &stat_);
    char *text = capture_end(&out);
    assert_int_equal(r, 0);
    /* /dev/null */
    assert_true(S_ISCHR(stat_.st_mode) && stat_.st_rdev == makedev(1, 3));
    return text;
}

static void test_the_line_is_what_the_host_expects(void **state)
{
    (void)state;
    char path[] = "/tmp/plugin123";
    const struct handshake handshake = { .listen_fd = -EBADF, .path = path };

    clear_environment();
    CLEANUP_FREE char *line = announce(&handshake);
    assert_string_equal(line, "1|2|unix|/tmp/plugin123|grpc|\n");
    setenv("PLUGIN_MULTIPLEX_GRPC", "true", 1);
    CLEANUP_FREE char *longer = announce(&handshake);
    assert_string_equal(longer, "1|2|unix|/tmp/plugin123|grpc||false\n");
}

static void test_a_closed_stdout_is_a_failure(void **state)
{
    (void)state;
    char path[] = "/tmp/plugin123";
    const struct handshake handshake = { .listen_fd = -EBADF, .path = path };
    CLEANUP_FAIL struct fail fail = {};

    clear_environment();
    fflush(NULL);
    int saved_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    close(STDOUT_FILENO);
    int r = handshake_announce(&handshake, &fail);
    dup2(saved_fd, STDOUT_FILENO);
    close(saved_fd);
    assert_int_equal(r, -EBADF);
    assert_says(fail_text(&fail), "standard output");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_only_the_cookie_tells_a_host),
        FD_LEAK_TEST(test_a_host_is_answered_by_going_on),
        FD_LEAK_TEST(test_a_host_of_another_version_is_told_and_gets_the_line),
        FD_LEAK_TEST(test_a_host_that_wants_tls_is_refused),
        FD_LEAK_TEST(test_arguments_from_the_agent_are_ignored_aloud),
        FD_LEAK_TEST(test_socket_is_private_new_and_removed),
        FD_LEAK_TEST(test_socket_dir_of_the_host_wins_over_tmpdir),
        FD_LEAK_TEST(test_without_variables_it_is_tmp),
        FD_LEAK_TEST(test_a_relative_directory_becomes_absolute),
        FD_LEAK_TEST(test_directories_that_cannot_be_are_refused),
        FD_LEAK_TEST(test_group_of_the_host_gets_the_socket),
        FD_LEAK_TEST(test_groups_that_are_not_there_are_refused),
        FD_LEAK_TEST(test_the_line_is_what_the_host_expects),
        FD_LEAK_TEST(test_a_closed_stdout_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
