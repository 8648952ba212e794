#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/program.h"
#include "reactor/utf8.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

struct scene {
    sd_event *event;
    bool done;
    int result;
    char *said;
};

static void on_done(int result, const char *said, void *data)
{
    struct scene *scene = data;

    assert_false(scene->done);
    scene->done = true;
    scene->result = result;
    scene->said = alloc_strdup(said);
}

static struct program *start(struct scene *scene, const char *const argv[], const char *input,
                             uint64_t timeout_usec)
{
    struct program *program = NULL;

    *scene = (struct scene){};
    assert_int_equal(sd_event_new(&scene->event), 0);
    int r = program_start(scene->event, (char *const *)(uintptr_t)argv, input, timeout_usec,
                          on_done, scene, &program);
    assert_int_equal(r, 0);
    assert_non_null(program);
    assert_false(scene->done);
    return program;
}

static void expect_no_child(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void finish(struct scene *scene)
{
    free(scene->said);
    sd_event_unref(scene->event);
    expect_no_child();
}

static void run(struct scene *scene, const char *const argv[], const char *input)
{
    (void)start(scene, argv, input, EVENT_DEADLINE_USEC);
    assert_true(event_run_until_set(scene->event, &scene->done));
}

static void expect(const char *const argv[], const char *input, int result, const char *said)
{
    struct scene scene;

    run(&scene, argv, input);
    assert_string_equal(scene.said, said);
    assert_int_equal(scene.result, result);
    finish(&scene);
}

static void expect_script(const char *script, const char *input, int result, const char *said)
{
    expect((const char *const[]){ "sh", "-c", script, NULL }, input, result, said);
}

static void test_what_it_is_given_arrives(void **state)
{
    size_t n = 300000;
    CLEANUP_FREE char *input = alloc_zero(n + 1, 1);

    (void)state;
    expect_script("cat >&2", "table\n  inet\n", 0, "table\n  inet");
    expect_script("cat >&2", "", 0, "");
    memset(input, 'x', n);
    expect_script("wc -c >&2", input, 0, "300000");
}

static void test_its_standard_output_goes_nowhere(void **state)
{
    (void)state;
    expect((const char *const[]){ "/bin/cat", NULL }, "text", 0, "");
}

static void test_another_exit_status_is_told_with_what_it_said(void **state)
{
    (void)state;
    expect_script("echo 'no such table' >&2; exit 3", "", -EIO,
                  "'sh' exited with status 3: no such table");
    expect_script("exit 127", "", -EIO, "'sh' exited with status 127");
    expect_script("echo careful >&2", "", 0, "careful");
}

static void test_what_cannot_be_run_is_told(void **state)
{
    (void)state;
    expect((const char *const[]){ "no-such-program", NULL }, "", -ENOENT,
           "'no-such-program' cannot be run: No such file or directory");
    expect((const char *const[]){ "/no/such", NULL }, "", -ENOENT,
           "'/no/such' cannot be run: No such file or directory");
    expect((const char *const[]){ "/etc/passwd", NULL }, "", -EACCES,
           "'/etc/passwd' cannot be run: Permission denied");
}

static void test_a_signal_is_told(void **state)
{
    (void)state;
    expect_script("kill -TERM $$", "", -EINTR, "'sh' was ended by signal 15");
    expect_script("kill -KILL $$", "", -EINTR, "'sh' was ended by signal 9");
}

static void test_it_has_an_end(void **state)
{
    struct scene scene;

    (void)state;
    (void)start(&scene, (const char *const[]){ "sh", "-c", "echo hm >&2; exec sleep 1000", NULL },
                "", 500000);
    assert_true(event_run_until_set(scene.event, &scene.done));
    assert_int_equal(scene.result, -ETIMEDOUT);
    assert_string_equal(scene.said, "'sh' was killed because it took more than 0.5 s: hm");
    finish(&scene);
}

static void test_one_that_is_freed_is_killed_and_calls_nobody(void **state)
{
    struct scene scene;

    (void)state;
    struct program *program = start(&scene, (const char *const[]){ "sleep", "1000", NULL }, "",
                                    EVENT_DEADLINE_USEC);
    assert_null(program_free(program));
    event_run_pending(scene.event);
    assert_false(scene.done);
    finish(&scene);
    assert_null(program_free(NULL));
}

/* Ended already, and not heard of. */
static void test_one_that_has_ended_can_be_freed(void **state)
{
    struct scene scene;
    siginfo_t info;

    (void)state;
    struct program *program = start(&scene, (const char *const[]){ "true", NULL }, "",
                                    EVENT_DEADLINE_USEC);
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    assert_null(program_free(program));
    event_run_pending(scene.event);
    assert_false(scene.done);
    finish(&scene);
}

static void test_of_much_the_end_is_kept(void **state)
{
    struct scene scene;

    (void)state;
    run(&scene,
        (const char *const[]){ "sh", "-c", "seq 5000 >&2; echo the last word >&2; exit 1", NULL },
        "");
    assert_int_equal(scene.result, -EIO);
    assert_in_range(strlen(scene.said), PROGRAM_SAID_MAX - 1, PROGRAM_SAID_MAX + 64);
    const char *end = strstr(scene.said, "\n4999\n5000\nthe last word");
    assert_non_null(end);
    assert_string_equal(end, "\n4999\n5000\nthe last word");
    finish(&scene);
}

static void test_one_that_never_stops_talking_gets_an_error(void **state)
{
    struct scene scene;

    (void)state;
    run(&scene, (const char *const[]){ "sh", "-c", "yes >&2; exit 7", NULL }, "");
    assert_int_equal(scene.result, -EIO);
    assert_non_null(strstr(scene.said, "'sh' exited with status 7: "));
    finish(&scene);
}

static void test_what_it_said_is_made_utf8(void **state)
{
    struct scene scene;

    (void)state;
    run(&scene, (const char *const[]){ "sh", "-c", "printf 'a\\377b \\000\\n\\n' >&2", NULL }, "");
    assert_int_equal(scene.result, 0);
    assert_string_equal(scene.said, "a\xef\xbf\xbd"
                                    "b");
    finish(&scene);
}

/* The plugin ignores some signals and blocks others; programs inherit both. */
static void test_signals_and_descriptors_are_as_usual(void **state)
{
    sigset_t blocked, before;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    /* Of signals that are ignored SIGPIPE, the 13th: others may be since the tests were started. */
    expect_script("grep ^SigBlk /proc/self/status >&2; ls /proc/self/fd >&2\n"
                  "read -r name mask <<EOF\n$(grep ^SigIgn /proc/self/status)\nEOF\n"
                  "echo $((0x$mask >> 12 & 1)) >&2",
                  "", 0, "SigBlk:\t0000000000000000\n0\n1\n2\n3\n0");
    (void)signal(SIGPIPE, handler);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* So that one started by a user's shell finds nft. */
static void test_administrators_programs_are_found(void **state)
{
    char *before = alloc_strdup(getenv("PATH"));

    (void)state;
    (void)setenv("PATH", "/usr/bin:/bin", true);
    expect_script("echo $PATH >&2", "", 0, "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    (void)unsetenv("PATH");
    expect_script("echo $PATH >&2", "", 0,
                  "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    (void)setenv("PATH", before, true);
    free(before);
}

#define N_AT_ONCE 30

static void on_one_of_many(int result, const char *said, void *data)
{
    unsigned *n_done = data;

    assert_int_equal(result, 0);
    assert_string_equal(said, "hello");
    ++*n_done;
}

static bool all_done(void *data)
{
    return *(unsigned *)data == N_AT_ONCE;
}

static void test_many_at_once(void **state)
{
    char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "cat >&2" }, NULL };
    sd_event *event = NULL;
    unsigned n_done = 0;

    (void)state;
    assert_int_equal(sd_event_new(&event), 0);
    for (int i = 0; i < N_AT_ONCE; i++) {
        struct program *program;
        int r = program_start(event, argv, "hello", EVENT_DEADLINE_USEC, on_one_of_many, &n_done,
                              &program);
        assert_int_equal(r, 0);
    }
    assert_true(event_run_until(event, all_done, &n_done));
    sd_event_unref(event);
    expect_no_child();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_it_is_given_arrives),
        FD_LEAK_TEST(test_its_standard_output_goes_nowhere),
        FD_LEAK_TEST(test_another_exit_status_is_told_with_what_it_said),
        FD_LEAK_TEST(test_what_cannot_be_run_is_told),
        FD_LEAK_TEST(test_a_signal_is_told),
        FD_LEAK_TEST(test_it_has_an_end),
        FD_LEAK_TEST(test_one_that_is_freed_is_killed_and_calls_nobody),
        FD_LEAK_TEST(test_one_that_has_ended_can_be_freed),
        FD_LEAK_TEST(test_of_much_the_end_is_kept),
        FD_LEAK_TEST(test_one_that_never_stops_talking_gets_an_error),
        FD_LEAK_TEST(test_what_it_said_is_made_utf8),
        FD_LEAK_TEST(test_signals_and_descriptors_are_as_usual),
        FD_LEAK_TEST(test_administrators_programs_are_found),
        FD_LEAK_TEST(test_many_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
