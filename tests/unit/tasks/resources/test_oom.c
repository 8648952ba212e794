/* A file that looks like a cgroup's. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/resources/oom.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

/* Always of one length, so that nobody reads half of it. */
#define EVENTS(n) "low 0\nhigh 0\nmax 0\noom 0\noom_kill " n "\noom_group_kill 0\n"

struct killed {
    unsigned n_told;
    uint64_t kills;
};

static void on_killed(uint64_t kills, void *data)
{
    struct killed *killed = data;

    killed->n_told++;
    killed->kills = kills;
}

static void test_kills_are_counted(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *nowhere = scratch_dir_path(dir, "nowhere");
    uint64_t kills = 7;

    (void)state;
    assert_int_equal(oom_read(nowhere, &kills), -ENOENT);
    assert_int_equal(oom_read(dir, &kills), -ENOENT);
    scratch_dir_write(dir, "memory.events", "low 0\noom 3\n");
    assert_int_equal(oom_read(dir, &kills), -EBADMSG);
    assert_true(kills == 7);
    scratch_dir_write(dir, "memory.events", EVENTS("3"));
    assert_int_equal(oom_read(dir, &kills), 0);
    assert_true(kills == 3);
    scratch_dir_free(dir);
}

static void test_only_further_kills_are_told(void **state)
{
    char *dir = scratch_dir_new();
    struct killed killed = {};
    struct oom_watch *watch = NULL;
    sd_event *event = NULL;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    scratch_dir_write(dir, "memory.events", EVENTS("2"));
    assert_int_equal(oom_watch_new(event, dir, on_killed, &killed, &watch), 0);
    event_run_pending(event);
    assert_int_equal(killed.n_told, 0);
    scratch_dir_write(dir, "memory.events", EVENTS("2")); /* another counter has grown */
    event_run_pending(event);
    assert_int_equal(killed.n_told, 0);
    scratch_dir_write(dir, "memory.events", EVENTS("4"));
    event_run_pending(event);
    assert_int_equal(killed.n_told, 1);
    assert_true(killed.kills == 4);
    scratch_dir_write(dir, "memory.events", "garbage\n");
    event_run_pending(event);
    scratch_dir_write(dir, "memory.events", EVENTS("5"));
    event_run_pending(event);
    assert_int_equal(killed.n_told, 2);
    assert_int_equal(event_count_during(event, 20000), 0);
    oom_watch_free(watch);
    sd_event_unref(event);
    scratch_dir_free(dir);
}

static void test_nothing_to_watch_is_told(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *nowhere = scratch_dir_path(dir, "nowhere");
    struct oom_watch *watch = NULL;
    sd_event *event = NULL;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    assert_int_equal(oom_watch_new(event, nowhere, on_killed, NULL, &watch), -ENOENT);
    assert_int_equal(oom_watch_new(event, dir, on_killed, NULL, &watch), -ENOENT);
    scratch_dir_write(dir, "memory.events", "low 0\n");
    assert_int_equal(oom_watch_new(event, dir, on_killed, NULL, &watch), -EBADMSG);
    assert_null(watch);
    assert_null(oom_watch_free(NULL));
    sd_event_unref(event);
    scratch_dir_free(dir);
}

static void test_cgroup_that_goes_takes_its_watch_silently(void **state)
{
    char *dir = scratch_dir_new();
    CLEANUP_FREE char *file = scratch_dir_path(dir, "memory.events");
    struct killed killed = {};
    struct oom_watch *watch = NULL;
    sd_event *event = NULL;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    scratch_dir_write(dir, "memory.events", EVENTS("0"));
    assert_int_equal(oom_watch_new(event, dir, on_killed, &killed, &watch), 0);
    assert_int_equal(unlink(file), 0);
    event_run_pending(event);
    assert_int_equal(killed.n_told, 0);
    assert_int_equal(event_count_during(event, 20000), 0);
    oom_watch_free(watch);
    sd_event_unref(event);
    scratch_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_kills_are_counted),
        FD_LEAK_TEST(test_only_further_kills_are_told),
        FD_LEAK_TEST(test_nothing_to_watch_is_told),
        FD_LEAK_TEST(test_cgroup_that_goes_takes_its_watch_silently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
