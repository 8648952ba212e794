/* Owners of real files, followed by real inotify. Needs root. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/mounts/owners.h"

/* --- life ------------------------------------------------------------------------------------- */

static void test_several_directories_are_shifted(void **state)
{
    struct owners f;
    CLEANUP(strv_done) struct strv dirs = {};

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "second");
    owners_make_dir(&f, "root/nested");
    owners_make_file(&f, "second/file");
    owners_make_file(&f, "root/nested/file");
    strv_printf(&dirs, "%s/root", f.dir);
    strv_printf(&dirs, "%s/second", f.dir);
    strv_printf(&dirs, "%s/root/nested", f.dir);
    assert_int_equal(owners_follow_all(&f, &dirs, OWNERS_BASE, &f.ownership, NULL), 0);
    assert_true(event_run_until_set(f.event, &f.is_ready));
    owners_expect_shifted(&f, "second/file");
    owners_expect_shifted(&f, "root/nested/file");
    owners_make_file(&f, "second/later");
    owners_make_file(&f, "root/nested/later");
    owners_await_shifted(&f, "second/later");
    owners_await_shifted(&f, "root/nested/later");
    owners_done(&f);
}

static void test_ready_is_called_once_and_from_the_loop(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_start(&f);
    assert_int_equal(f.n_ready, 0);
    assert_true(event_run_until_set(f.event, &f.is_ready));
    owners_make_dir(&f, "root/dir");
    owners_await_shifted(&f, "root/dir");
    owners_expect_idle(&f);
    assert_int_equal(f.n_ready, 1);
    owners_done(&f);
}

static void test_ready_may_free_it(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/dir");
    f.frees_in_ready = true;
    owners_start(&f);
    assert_true(event_run_until_set(f.event, &f.is_ready));
    assert_null(f.ownership);
    owners_expect_shifted(&f, "root/dir");
    owners_make_file(&f, "root/later");
    owners_expect_idle(&f);
    owners_expect_untouched(&f, "root/later");
    owners_done(&f);
}

static void test_freed_in_the_middle_it_is_never_ready(void **state)
{
    struct owners f;
    const unsigned n_files = 3 * OWNERSHIP_BATCH_MAX;

    (void)state;
    owners_init(&f);
    for (unsigned i = 0; i < n_files; i++) {
        CLEANUP_FREE char *name = alloc_printf("root/file%u", i);
        owners_make_file(&f, name);
    }
    owners_start(&f);
    assert_int_equal(sd_event_run(f.event, 0), 1);
    assert_in_range(owners_count(&f), 1, n_files);
    f.ownership = ownership_free(f.ownership);
    owners_expect_idle(&f);
    assert_int_equal(f.n_ready, 0);
    assert_null(ownership_free(NULL));
    owners_done(&f);
}

static void test_directory_that_is_gone_is_forgotten(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_start_and_wait(&f);
    assert_int_equal(rmdir(f.root), 0);
    owners_expect_idle(&f);
    assert_int_equal(owners_n_watches(), 0);
    owners_done(&f);
}

/* --- what comes later ------------------------------------------------------------------------- */

static void test_what_comes_later_is_followed(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/dir");
    owners_make_file(&f, "root/dir/chowned");
    owners_make_file(&f, "elsewhere");
    owners_start_and_wait(&f);
    owners_make_file(&f, "root/dir/created");
    owners_await_shifted(&f, "root/dir/created");
    owners_move(&f, "elsewhere", "root/dir/moved");
    owners_await_shifted(&f, "root/dir/moved");
    owners_give(&f, "root/dir/chowned", 0, 0, 0);
    owners_await_shifted(&f, "root/dir/chowned");
    owners_give(&f, "root/dir", 0, 0, 0);
    owners_await_shifted(&f, "root/dir");
    owners_give(&f, "root", 0, 0, 0);
    owners_await_shifted(&f, "root");
    owners_expect_idle(&f);
    owners_done(&f);
}

/* As Nomad renders a template: a temporary file, mode and owner, and a rename over the old one. */
static void test_file_rendered_again_ends_right(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_file(&f, "root/secret");
    owners_start_and_wait(&f);
    for (int i = 0; i < 20; i++) {
        owners_make_file(&f, "root/.secret.tmp");
        if (i % 2 == 0) /* we come in between, or not */
            owners_await_shifted(&f, "root/.secret.tmp");
        owners_give(&f, "root/.secret.tmp", 0, 0, 0640);
        ino_t ino = owners_look(&f, "root/.secret.tmp").st_ino;
        owners_move(&f, "root/.secret.tmp", "root/secret");
        owners_await_shifted(&f, "root/secret");
        assert_int_equal(owners_look(&f, "root/secret").st_ino, ino);
        assert_int_equal(owners_look(&f, "root/secret").st_mode & 07777, 0640);
    }
    owners_done(&f);
}

/* Another process, so that it races with the loop. */
static pid_t make_trees(const struct owners *f, unsigned n)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    for (unsigned i = 0; i < n; i++) {
        char path[512];
        int length = snprintf(path, sizeof(path), "%s/tree%u", f->root, i);
        for (int level = 0; level < 3; level++) {
            if (mkdir(path, 0755) < 0)
                _exit(EXIT_FAILURE);
            length += snprintf(path + length, sizeof(path) - (size_t)length, "/%c", 'a' + level);
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            _exit(EXIT_FAILURE);
        (void)close(fd);
    }
    _exit(EXIT_SUCCESS);
}

static void test_nested_directories_made_at_once_are_caught(void **state)
{
    struct owners f;
    const unsigned n_trees = 60;

    (void)state;
    owners_init(&f);
    owners_start_and_wait(&f);
    pid_t pid = make_trees(&f, n_trees);
    owners_await_exit(&f, pid);
    owners_await_all_shifted(&f);
    owners_expect_all_shifted(&f, 1 + n_trees * 4);
    owners_expect_idle(&f);
    assert_int_equal(owners_n_watches(), 1 + n_trees * 3);
    owners_done(&f);
}

static void test_tree_made_before_the_loop_ran_is_caught(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_start_and_wait(&f);
    owners_make_dir(&f, "root/a");
    owners_make_dir(&f, "root/a/b");
    owners_make_dir(&f, "root/a/b/c");
    owners_make_file(&f, "root/a/b/c/file");
    owners_await_shifted(&f, "root/a/b/c/file");
    owners_make_file(&f, "root/a/b/c/later");
    owners_await_shifted(&f, "root/a/b/c/later");
    owners_done(&f);
}

static void test_tree_moved_in_is_walked_and_followed(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "tree");
    owners_make_dir(&f, "tree/dir");
    owners_make_file(&f, "tree/dir/file");
    owners_start_and_wait(&f);
    owners_move(&f, "tree", "root/tree");
    owners_await_shifted(&f, "root/tree/dir/file");
    owners_make_file(&f, "root/tree/dir/later");
    owners_await_shifted(&f, "root/tree/dir/later");
    owners_done(&f);
}

static void test_directory_that_moved_is_followed_where_it_is(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/old");
    owners_make_dir(&f, "root/old/inner");
    owners_make_dir(&f, "root/place");
    owners_start_and_wait(&f);
    owners_move(&f, "root/old", "root/place/new");
    owners_make_file(&f, "root/place/new/inner/at once");
    owners_await_shifted(&f, "root/place/new/inner/at once");
    event_run_pending(f.event);
    owners_make_file(&f, "root/place/new/inner/later");
    owners_await_shifted(&f, "root/place/new/inner/later");
    assert_int_equal(owners_n_watches(), 4);
    owners_done(&f);
}

static void test_directory_that_goes_and_comes_again_is_followed(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    CLEANUP_FREE char *path = owners_path(&f, "root/dir");
    owners_make_dir(&f, "root/dir");
    owners_start_and_wait(&f);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rmdir(path), 0);
        if (i % 2 == 0)
            event_run_pending(f.event);
        owners_make_dir(&f, "root/dir"); /* most likely with the same inode number */
        owners_await_shifted(&f, "root/dir");
        event_run_pending(f.event);
        owners_make_file(&f, "root/dir/file");
        owners_await_shifted(&f, "root/dir/file");
        CLEANUP_FREE char *file = owners_path(&f, "root/dir/file");
        assert_int_equal(unlink(file), 0);
    }
    assert_int_equal(rmdir(path), 0);
    owners_expect_idle(&f);
    assert_int_equal(owners_n_watches(), 1);
    owners_done(&f);
}

/* A walk may come upon a new directory before the old one's end is told, and take it for that. */
static void test_inode_number_that_is_used_again_is_followed(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "tree");
    owners_make_dir(&f, "root/old");
    owners_start_and_wait(&f);
    owners_move(&f, "tree", "root/tree");
    owners_await_shifted(&f, "root/tree"); /* the event was handled, the walk is still to come */
    CLEANUP_FREE char *old = owners_path(&f, "root/old");
    assert_int_equal(rmdir(old), 0);
    owners_make_dir(&f, "root/tree/new");
    owners_await_shifted(&f, "root/tree/new");
    event_run_pending(f.event);
    owners_make_file(&f, "root/tree/new/file");
    owners_await_shifted(&f, "root/tree/new/file");
    owners_done(&f);
}

/* Tasks of one allocation share its alloc directory. */
static void test_directory_may_be_followed_twice(void **state)
{
    struct owners f;
    struct ownership *other = NULL;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/dir");
    owners_start_and_wait(&f);
    f.is_ready = false;
    assert_int_equal(owners_follow(&f, f.root, OWNERS_BASE, &other, NULL), 0);
    assert_true(event_run_until_set(f.event, &f.is_ready));
    owners_make_file(&f, "root/dir/both");
    owners_await_shifted(&f, "root/dir/both");
    f.ownership = ownership_free(f.ownership);
    owners_make_file(&f, "root/dir/one");
    owners_await_shifted(&f, "root/dir/one");
    ownership_free(other);
    owners_make_file(&f, "root/dir/none");
    owners_expect_idle(&f);
    owners_expect_untouched(&f, "root/dir/none");
    owners_done(&f);
}

/* --- too many events -------------------------------------------------------------------------- */

static uint64_t now_usec(const struct owners *f)
{
    uint64_t now = 0;

    assert_true(sd_event_now(f->event, CLOCK_MONOTONIC, &now) >= 0);
    return now;
}

static bool is_paused(void *data)
{
    (void)data;
    return owners_n_watches() == 0;
}

static void test_flood_of_events_stops_following_for_a_second(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/dir");
    owners_start_and_wait(&f);
    owners_make_files(&f, "root/dir", "file", 2 * OWNERSHIP_EVENTS_MAX);
    uint64_t start_usec = now_usec(&f);
    assert_true(event_run_until(f.event, is_paused, NULL));
    owners_expect_untouched(&f, "root/dir/file1999");
    owners_make_files(&f, "root/dir", "more", 10);
    owners_await_all_shifted(&f);
    assert_in_range(now_usec(&f) - start_usec, 900000, EVENT_DEADLINE_USEC);
    owners_expect_idle(&f);
    owners_make_file(&f, "root/dir/later");
    owners_await_shifted(&f, "root/dir/later");
    assert_int_equal(owners_n_watches(), 2);
    owners_done(&f);
}

static void test_flood_while_it_runs_ends_right(void **state)
{
    struct owners f;
    /* Beyond the limit of watches a directory is looked at once, whatever comes later. */
    const unsigned n_trees = (OWNERSHIP_WATCHES_MAX - 1) / 3;

    (void)state;
    owners_init(&f);
    owners_start_and_wait(&f);
    pid_t pid = make_trees(&f, n_trees);
    owners_await_exit(&f, pid);
    owners_await_all_shifted(&f);
    owners_expect_all_shifted(&f, 1 + n_trees * 4);
    owners_expect_idle(&f);
    owners_done(&f);
}

static int on_other_event(sd_event_source *source, const struct inotify_event *event, void *data)
{
    bool *has_overflown = data;

    (void)source;
    *has_overflown = *has_overflown || (event->mask & IN_Q_OVERFLOW) != 0;
    return 0;
}

static unsigned queue_max(void)
{
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    unsigned n = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u", &n), 1);
    (void)fclose(file);
    return n;
}

/* The queue of events is shared with whatever else is watched: here somebody else fills it. */
static void test_lost_events_are_made_up_for(void **state)
{
    struct owners f;
    bool has_overflown = false;
    sd_event_source *source = NULL;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "other");
    owners_make_dir(&f, "root/dir");
    owners_start_and_wait(&f);
    CLEANUP_FREE char *other = owners_path(&f, "other");
    CLEANUP_FREE char *one = owners_path(&f, "other/one");
    CLEANUP_FREE char *two = owners_path(&f, "other/two");
    assert_int_equal(sd_event_add_inotify(f.event, &source, other, IN_MOVED_FROM | IN_MOVED_TO,
                                          on_other_event, &has_overflown), 0);
    owners_make_file(&f, "other/one");
    for (unsigned i = 0; i < queue_max() / 2 + 1; i++)
        assert_int_equal(i % 2 == 0 ? rename(one, two) : rename(two, one), 0);
    owners_make_file(&f, "root/dir/lost");
    owners_await_shifted(&f, "root/dir/lost");
    assert_true(has_overflown);
    sd_event_source_disable_unref(source);
    owners_make_file(&f, "root/dir/later");
    owners_await_shifted(&f, "root/dir/later");
    owners_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_several_directories_are_shifted),
        FD_LEAK_TEST(test_ready_is_called_once_and_from_the_loop),
        FD_LEAK_TEST(test_ready_may_free_it),
        FD_LEAK_TEST(test_freed_in_the_middle_it_is_never_ready),
        FD_LEAK_TEST(test_directory_that_is_gone_is_forgotten),
        FD_LEAK_TEST(test_what_comes_later_is_followed),
        FD_LEAK_TEST(test_file_rendered_again_ends_right),
        FD_LEAK_TEST(test_nested_directories_made_at_once_are_caught),
        FD_LEAK_TEST(test_tree_made_before_the_loop_ran_is_caught),
        FD_LEAK_TEST(test_tree_moved_in_is_walked_and_followed),
        FD_LEAK_TEST(test_directory_that_moved_is_followed_where_it_is),
        FD_LEAK_TEST(test_directory_that_goes_and_comes_again_is_followed),
        FD_LEAK_TEST(test_inode_number_that_is_used_again_is_followed),
        FD_LEAK_TEST(test_directory_may_be_followed_twice),
        FD_LEAK_TEST(test_flood_of_events_stops_following_for_a_second),
        FD_LEAK_TEST(test_flood_while_it_runs_ends_right),
        FD_LEAK_TEST(test_lost_events_are_made_up_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
