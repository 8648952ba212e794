/* Which range is chosen, by what stands beside the allocation. Chowns scratch directories, so it
 * needs root. Through the task's directories: test_task_dirs.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/mounts/user_range.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"
#include "tests/support/scratch_dir.h"

#define FIRST UINT32_C(0x00080000)
#define LAST  UINT32_C(0x6fff0000)

struct scene {
    char *dir, *alloc_dir;
    struct strv dirs;
    struct fail fail;
};

static void make_dir(const struct scene *scene, const char *name, uid_t owner)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chown(path, owner, owner), 0);
}

static struct scene set_up(void)
{
    struct scene scene = { .dir = scratch_dir_new() };

    scene.alloc_dir = scratch_dir_path(scene.dir, "own");
    make_dir(&scene, "own", 0);
    make_dir(&scene, "own/alloc", 0);
    strv_push_owned(&scene.dirs, scratch_dir_path(scene.dir, "own/alloc"));
    return scene;
}

static void tear_down(struct scene *scene)
{
    strv_done(&scene->dirs);
    fail_done(&scene->fail);
    free(scene->alloc_dir);
    scratch_dir_free(scene->dir);
}

static uid_t choose(struct scene *scene, const char *alloc_id)
{
    uid_t base = 7;

    assert_int_equal(user_range_choose(scene->alloc_dir, alloc_id, &scene->dirs, &base, NULL), 0);
    assert_true(base >= FIRST && base <= LAST);
    assert_int_equal(base % USER_RANGE_IDS, 0);
    return base;
}

static void test_the_allocation_tells_where_the_search_begins(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(choose(&scene, "a"), choose(&scene, "a"));
    assert_int_not_equal(choose(&scene, "a"), choose(&scene, "b"));
    assert_int_equal(choose(&scene, NULL), choose(&scene, scene.alloc_dir));
    tear_down(&scene);
}

static void give(const struct scene *scene, uid_t owner)
{
    assert_int_equal(chown(scene->dirs.items[0], owner, owner), 0);
}

static void test_what_the_directories_have_stays(void **state)
{
    struct scene scene = set_up();
    uid_t chosen = choose(&scene, "a");

    (void)state;
    give(&scene, FIRST);
    assert_int_equal(choose(&scene, "a"), FIRST);
    give(&scene, LAST + USER_RANGE_IDS - 1);
    assert_int_equal(choose(&scene, "a"), LAST);
    /* Users of the host's own, below and above what systemd keeps for containers. */
    give(&scene, FIRST - 1);
    assert_int_equal(choose(&scene, "a"), chosen);
    give(&scene, LAST + USER_RANGE_IDS);
    assert_int_equal(choose(&scene, "a"), chosen);
    tear_down(&scene);
}

static void test_slashes_at_the_end_make_no_other_of_the_allocation(void **state)
{
    struct scene scene = set_up();
    uid_t chosen = choose(&scene, "a");

    (void)state;
    give(&scene, chosen);
    strv_done(&scene.dirs);
    CLEANUP_FREE char *path = TAKE_PTR(scene.alloc_dir);
    scene.alloc_dir = alloc_printf("%s//", path);
    assert_int_equal(choose(&scene, "a"), chosen);
    tear_down(&scene);
}

/* Each range that would be tried is one of another allocation's. */
static void test_an_end_of_the_search_is_told(void **state)
{
    struct scene scene = set_up();
    uid_t base = choose(&scene, "a");

    (void)state;
    make_dir(&scene, "other", 0);
    for (unsigned i = 0; i < 1024; i++) {
        CLEANUP_FREE char *task = alloc_printf("other/%u", i);
        CLEANUP_FREE char *local = alloc_printf("other/%u/local", i);
        make_dir(&scene, task, 0);
        make_dir(&scene, local, base);
        base = base == LAST ? FIRST : base + USER_RANGE_IDS;
    }
    expect_fail_with(user_range_choose(scene.alloc_dir, "a", &scene.dirs, &base, &scene.fail),
                     &scene.fail, -EBUSY, "no range of users is free");
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_the_allocation_tells_where_the_search_begins),
        FD_LEAK_TEST(test_what_the_directories_have_stays),
        FD_LEAK_TEST(test_slashes_at_the_end_make_no_other_of_the_allocation),
        FD_LEAK_TEST(test_an_end_of_the_search_is_told),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
