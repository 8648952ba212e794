/* Trees that are large, broad or deep. Needs root. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/mounts/owners.h"

static unsigned n_fds(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

static void test_turn_of_the_loop_has_a_limit(void **state)
{
    struct owners f;
    const unsigned n_files = 5 * OWNERSHIP_BATCH_MAX;

    (void)state;
    owners_init(&f);
    owners_make_files(&f, "root", "file", n_files);
    owners_make_dirs(&f, 100);
    owners_start(&f);
    unsigned n_before = 0;
    while (!f.is_ready) {
        assert_int_equal(sd_event_run(f.event, 0), 1);
        unsigned n_shifted = owners_count(&f);
        assert_in_range(n_shifted, n_before, n_before + OWNERSHIP_BATCH_MAX);
        n_before = n_shifted;
    }
    owners_expect_all_shifted(&f, 1 + n_files + 200);
    owners_expect_idle(&f);
    owners_done(&f);
}

static void test_descriptors_do_not_grow_with_the_tree(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dirs(&f, 500);
    /* In no turn either: a service may have 1024. */
    unsigned n_at_most = n_fds() + 24;
    owners_start(&f);
    while (!f.is_ready) {
        assert_int_equal(sd_event_run(f.event, 0), 1);
        assert_in_range(n_fds(), 0, n_at_most);
    }
    owners_expect_idle(&f);
    assert_int_equal(owners_n_watches(), 501);
    assert_in_range(n_fds(), 0, n_at_most - 16);
    owners_done(&f);
}

static void test_more_directories_than_watches_are_shifted(void **state)
{
    struct owners f;
    const unsigned n_dirs = OWNERSHIP_WATCHES_MAX + 50;

    (void)state;
    owners_init(&f);
    owners_make_dirs(&f, n_dirs);
    owners_start_and_wait(&f);
    owners_expect_all_shifted(&f, 1 + 2 * n_dirs);
    assert_int_equal(owners_n_watches(), OWNERSHIP_WATCHES_MAX);
    owners_make_file(&f, "root/later");
    owners_await_shifted(&f, "root/later");
    owners_expect_idle(&f);
    owners_done(&f);
}

/* Below the top directory, by descriptors: the path may be too long for the kernel. */
static void make_chain(const struct owners *f, const char *dir, unsigned depth)
{
    CLEANUP_FREE char *top = owners_path(f, dir);
    int fd = open(top, O_PATH | O_CLOEXEC);

    for (unsigned i = 0; i < depth; i++) {
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_PATH | O_CLOEXEC);
        assert_true(next >= 0);
        (void)close(fd);
        fd = next;
    }
    (void)close(fd);
}

/* Levels of many directories, the next level in the middle one. Were they put on the list as they
 * are found, it would be full long before the end. */
static void make_broad_levels(int fd, unsigned n_levels, unsigned n_dirs)
{
    int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    for (unsigned level = 0; level < n_levels; level++) {
        for (unsigned i = 0; i < n_dirs; i++) {
            CLEANUP_FREE char *name = alloc_printf("%u", i);
            CLEANUP_FREE char *inner = alloc_printf("%u/inner", i);
            assert_int_equal(mkdirat(at, name, 0755), 0);
            assert_int_equal(mkdirat(at, inner, 0755), 0);
        }
        CLEANUP_FREE char *middle = alloc_printf("%u", n_dirs / 2);
        int next = openat(at, middle, O_PATH | O_CLOEXEC);
        assert_true(next >= 0);
        (void)close(at);
        at = next;
    }
    (void)close(at);
}

static void test_broad_and_deep_trees_are_walked_to_the_end(void **state)
{
    struct owners f;
    enum { N_LEVELS = 60, N_DIRS = 200 };
    static_assert(N_LEVELS * N_DIRS / 2 > OWNERSHIP_QUEUE_MAX, "more than fit on the list");

    (void)state;
    owners_init(&f);
    owners_mount(&f, "none", "root", 0);
    CLEANUP_CLOSE int fd = open(f.root, O_PATH | O_CLOEXEC);
    make_broad_levels(fd, N_LEVELS, N_DIRS);
    fd = close_fd(fd);
    owners_start_and_wait(&f);
    owners_expect_all_shifted(&f, 1 + 2 * N_LEVELS * N_DIRS);
    owners_unmount(&f, "root");
    owners_done(&f);
}

static void test_tree_too_deep_for_a_path_does_no_harm(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/deep");
    owners_make_file(&f, "root/file");
    make_chain(&f, "root/deep", 2500);
    owners_start_and_wait(&f);
    owners_expect_shifted(&f, "root/deep/d/d/d/d/d");
    owners_expect_shifted(&f, "root/file");
    owners_make_file(&f, "root/later");
    owners_await_shifted(&f, "root/later");
    /* nftw can't remove it */
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", f.root, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    owners_await_exit(&f, pid);
    owners_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_turn_of_the_loop_has_a_limit),
        FD_LEAK_TEST(test_descriptors_do_not_grow_with_the_tree),
        FD_LEAK_TEST(test_more_directories_than_watches_are_shifted),
        FD_LEAK_TEST(test_broad_and_deep_trees_are_walked_to_the_end),
        FD_LEAK_TEST(test_tree_too_deep_for_a_path_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
