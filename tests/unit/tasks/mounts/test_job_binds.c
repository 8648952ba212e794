/* What the job binds: from where, at which paths, and that links in the task's directory lead no
 * further. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/mounts/job_binds.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir; /* of the task; canonical */
    struct task_options config;
    struct binds binds;
    struct fail fail;
};

static struct scene set_up(void)
{
    CLEANUP_FREE char *dir = scratch_dir_new();
    struct scene scene = { .dir = realpath(dir, NULL) };
    CLEANUP_FREE char *local = scratch_dir_path(scene.dir, "local");

    assert_non_null(scene.dir);
    assert_int_equal(mkdir(local, 0755), 0);
    return scene;
}

static void tear_down(struct scene *scene)
{
    task_options_done(&scene->config);
    binds_done(&scene->binds);
    fail_done(&scene->fail);
    scratch_dir_free(scene->dir);
}

static void link_to(const struct scene *scene, const char *name, const char *target)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(symlink(target, path), 0);
}

static int add(struct scene *scene)
{
    return job_binds_add(&scene->config, scene->dir, &scene->binds, &scene->fail);
}

static void expect_bind(const struct scene *scene, size_t i, const char *source, const char *target,
                        bool read_only)
{
    const struct bind *bind = &scene->binds.items[i];

    assert_true(i < scene->binds.n_items);
    assert_string_equal(bind->source, source);
    assert_string_equal(bind->target, target);
    assert_int_equal(bind->how.read_only, read_only);
}

static void test_both_options_are_one_list(void **state)
{
    struct scene scene = set_up();

    (void)state;
    pairs_set(&scene.config.bind_read_only, "/5", "/b/five");
    pairs_set(&scene.config.bind, "/4", "/b");
    pairs_set(&scene.config.bind, "/3", "/a");
    assert_int_equal(add(&scene), 0);
    assert_int_equal(scene.binds.n_items, 3);
    expect_bind(&scene, 0, "/3", "/a", false);
    expect_bind(&scene, 1, "/4", "/b", false);
    expect_bind(&scene, 2, "/5", "/b/five", true);
    assert_int_equal(scene.binds.items[1].owner, BIND_OWNER_JOB);
    assert_int_equal(scene.binds.items[2].owner, BIND_OWNER_JOB_READ_ONLY);
    tear_down(&scene);
}

static void test_two_binds_have_two_targets(void **state)
{
    struct scene same = set_up(), both = set_up();

    (void)state;
    pairs_set(&same.config.bind, "/a", "/x");
    pairs_set(&same.config.bind, "/b", "/x");
    expect_fail(add(&same), &same.fail, -EINVAL,
                "option 'bind': '/x' is the path inside of two binds, of '/b' and of '/a' (option "
                "'bind'); remove the bind, or choose another path inside");
    pairs_set(&both.config.bind, "/a", "/x");
    pairs_set(&both.config.bind_read_only, "/b", "/x/.");
    expect_fail(add(&both), &both.fail, -EINVAL,
                "option 'bind_read_only': '/x' is the path inside of two binds, of '/b' and of "
                "'/a' (option 'bind'); remove the bind, or choose another path inside");
    tear_down(&same);
    tear_down(&both);
}

static void test_relative_paths_are_below_the_task(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *file = scratch_dir_path(scene.dir, "local/file");

    (void)state;
    scratch_dir_write(scene.dir, "local/file", "");
    link_to(&scene, "inside", "local/file");
    pairs_set(&scene.config.bind, "./local//file", "/a");
    pairs_set(&scene.config.bind, "local/../inside", "/b");
    assert_int_equal(add(&scene), 0);
    expect_bind(&scene, 0, file, "/a", false);
    expect_bind(&scene, 1, file, "/b", false);
    tear_down(&scene);
}

static void test_relative_paths_lead_nowhere_else(void **state)
{
    static const char *const paths[] = { "..", "../other", "up", "root", "local/etc/passwd" };

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct scene scene = set_up();
        CLEANUP_FREE char *text = alloc_printf("bind_read_only '%s': leads out of the task's "
                                               "directory; give an absolute path",
                                               paths[i]);

        link_to(&scene, "up", "..");
        link_to(&scene, "root", "/");
        link_to(&scene, "local/etc", "/etc");
        pairs_set(&scene.config.bind_read_only, paths[i], "/x");
        expect_fail(add(&scene), &scene.fail, -EXDEV, text);
        tear_down(&scene);
    }
}

static void test_what_is_not_there_is_named(void **state)
{
    struct scene scene = set_up();

    (void)state;
    pairs_set(&scene.config.bind, "local/missing", "/x");
    expect_fail(add(&scene), &scene.fail, -ENOENT,
                "bind 'local/missing': in the task's directory: No such file or directory");
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_both_options_are_one_list),
        FD_LEAK_TEST(test_two_binds_have_two_targets),
        FD_LEAK_TEST(test_relative_paths_are_below_the_task),
        FD_LEAK_TEST(test_relative_paths_lead_nowhere_else),
        FD_LEAK_TEST(test_what_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
