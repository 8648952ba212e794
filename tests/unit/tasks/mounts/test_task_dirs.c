/* Nomad's directories of a task: what is bound where, and the range of users where owners must be
 * shifted. Chowns scratch directories, so it needs root. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/idmap.h"
#include "tasks/mounts/task_dirs.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"
#include "tests/support/scratch_dir.h"

#define ALLOC  "8a1f9c0e-0000-4000-8000-000000000001"
#define OTHER  "8a1f9c0e-0000-4000-8000-000000000002"
#define LOCKS  "/run/systemd/nspawn-uid"
#define IS_BASE(uid) ((uid) >= 524288 && (uid) % 65536 == 0)

struct scene {
    char *dir; /* of all allocations */
    struct task_spec spec;
    struct task_dirs dirs;
    struct fail fail;
};

static void make_alloc(const char *dir, const char *alloc)
{
    static const char *const below[] = { "", "/alloc", "/alloc/logs", "/web", "/web/local",
                                         "/web/secrets" };

    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s%s", dir, alloc, below[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
}

static struct scene set_up(void)
{
    struct scene scene = { .dir = scratch_dir_new() };

    make_alloc(scene.dir, ALLOC);
    scene.spec = (struct task_spec){
        .name = alloc_strdup("web"),
        .alloc_id = alloc_strdup(ALLOC),
        .alloc_dir = scratch_dir_path(scene.dir, ALLOC),
    };
    pairs_set(&scene.spec.env, "NOMAD_ALLOC_DIR", "/alloc");
    pairs_set(&scene.spec.env, "NOMAD_TASK_DIR", "/local");
    pairs_set(&scene.spec.env, "NOMAD_SECRETS_DIR", "/secrets");
    return scene;
}

static void tear_down(struct scene *scene)
{
    assert_int_equal(unsetenv(IDMAP_OFF_ENV), 0);
    task_dirs_done(&scene->dirs);
    fail_done(&scene->fail);
    task_spec_done(&scene->spec);
    scratch_dir_free(scene->dir);
}

static int make(struct scene *scene, bool user_namespace)
{
    task_dirs_done(&scene->dirs);
    return task_dirs_make(&scene->spec, user_namespace, &scene->dirs, &scene->fail);
}

/* As on a kernel that can ID-map nothing. */
static void make_shifted(struct scene *scene)
{
    assert_int_equal(setenv(IDMAP_OFF_ENV, "all", 1), 0);
    assert_int_equal(make(scene, true), 0);
    assert_int_equal(scene->dirs.shifted.n_items, 3);
    assert_true(IS_BASE(scene->dirs.base));
}

static void give_to(const struct scene *scene, const char *name, uid_t uid)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(chown(path, uid, uid), 0);
}

static void expect_bind(const struct scene *scene, size_t i, const char *source, const char *target,
                        bool read_only)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, source);

    assert_true(i < scene->dirs.binds.n_items);
    const struct bind *bind = &scene->dirs.binds.items[i];
    assert_string_equal(bind->source, path);
    assert_string_equal(bind->target, target);
    assert_int_equal(bind->how.read_only, read_only);
    assert_true(bind->how.without_submounts);
}

/* --- what is bound where --------------------------------------------------------------------- */

static void test_directories_stand_where_nomad_says(void **state)
{
    struct scene scene = set_up();

    (void)state;
    pairs_set(&scene.spec.env, "NOMAD_TASK_DIR", "/srv/./own");
    assert_int_equal(make(&scene, false), 0);
    assert_int_equal(scene.dirs.binds.n_items, 4);
    expect_bind(&scene, 0, ALLOC "/alloc", "/alloc", false);
    expect_bind(&scene, 1, ALLOC "/alloc/logs", "/alloc/logs", true);
    expect_bind(&scene, 2, ALLOC "/web/secrets", "/secrets", false);
    expect_bind(&scene, 3, ALLOC "/web/local", "/srv/./own", false);
    for (size_t i = 0; i < scene.dirs.binds.n_items; i++)
        assert_int_equal(scene.dirs.binds.items[i].how.map, BIND_MAP_NONE);
    assert_int_equal(scene.dirs.shifted.n_items, 0);
    assert_int_equal(scene.dirs.base, 0);
    tear_down(&scene);
}

static void test_what_has_no_variable_is_not_bound(void **state)
{
    struct scene scene = set_up();

    (void)state;
    pairs_done(&scene.spec.env);
    pairs_set(&scene.spec.env, "NOMAD_TASK_DIR", "/local");
    pairs_set(&scene.spec.env, "NOMAD_SECRETS_DIR", "");
    assert_int_equal(make(&scene, true), 0);
    assert_int_equal(scene.dirs.binds.n_items, 1);
    expect_bind(&scene, 0, ALLOC "/web/local", "/local", false);
    tear_down(&scene);
}

static void test_logs_that_are_not_there_are_not_bound(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *logs = scratch_dir_path(scene.dir, ALLOC "/alloc/logs");

    (void)state;
    assert_int_equal(rmdir(logs), 0);
    assert_int_equal(make(&scene, false), 0);
    assert_int_equal(scene.dirs.binds.n_items, 3);
    tear_down(&scene);
}

static void test_paths_that_can_not_be_are_refused(void **state)
{
    static const char *const targets[] = { "alloc", "/", "//", "/.", "/../etc", "/a/../..", "/a/.." };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        pairs_set(&scene.spec.env, "NOMAD_ALLOC_DIR", targets[i]);
        expect_fail_with(make(&scene, false), &scene.fail, -EINVAL, "NOMAD_ALLOC_DIR is '");
    }
    tear_down(&scene);
}

static void test_names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const names[] = { "", ".", "..", "../other", "a/b" };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        free(scene.spec.name);
        scene.spec.name = alloc_strdup(names[i]);
        expect_fail_with(make(&scene, false), &scene.fail, -EINVAL, "the task's name '");
    }
    free(scene.spec.alloc_dir);
    scene.spec.alloc_dir = alloc_strdup("relative");
    expect_fail(make(&scene, false), &scene.fail, -EINVAL,
                "alloc_dir 'relative': expected an absolute path");
    free(TAKE_PTR(scene.spec.alloc_dir));
    expect_fail(make(&scene, false), &scene.fail, -EINVAL,
                "alloc_dir '': expected an absolute path");
    tear_down(&scene);
}

static void test_missing_and_odd_directories_are_named(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *secrets = scratch_dir_path(scene.dir, ALLOC "/web/secrets");

    (void)state;
    assert_int_equal(rmdir(secrets), 0);
    expect_fail_with(make(&scene, false), &scene.fail, -ENOENT, "/web/secrets': No such file");
    assert_int_equal(symlink("/etc", secrets), 0);
    expect_fail_with(make(&scene, false), &scene.fail, -ENOTDIR, "is no directory");
    tear_down(&scene);
}

static void test_two_directories_have_two_places(void **state)
{
    struct scene scene = set_up();

    (void)state;
    pairs_set(&scene.spec.env, "NOMAD_SECRETS_DIR", "/local/");
    expect_fail_with(make(&scene, false), &scene.fail, -EINVAL,
                     "/web/local' (the task's directories); leave NOMAD_ALLOC_DIR, ");
    pairs_set(&scene.spec.env, "NOMAD_SECRETS_DIR", "/alloc/logs");
    expect_fail_with(make(&scene, false), &scene.fail, -EINVAL,
                     "the task's directories: '/alloc/logs' is the path inside of two binds, of '");
    tear_down(&scene);
}

/* --- owners ---------------------------------------------------------------------------------- */

static void test_only_what_can_not_be_mapped_is_shifted(void **state)
{
    struct scene scene = set_up();

    (void)state;
    CLEANUP_FREE char *local = scratch_dir_path(scene.dir, ALLOC "/web/local");
    bool can_map = idmap_try(local) >= 0;
    assert_int_equal(make(&scene, true), 0);
    assert_int_equal(scene.dirs.shifted.n_items, can_map ? 0 : 3);
    assert_int_equal(scene.dirs.binds.items[2].how.map,
                     can_map ? BIND_MAP_IDMAP : BIND_MAP_NONE);
    make_shifted(&scene);
    assert_string_equal(scene.dirs.shifted.items[1], local);
    tear_down(&scene);
}

static void test_without_a_user_namespace_nothing_is_shifted(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(setenv(IDMAP_OFF_ENV, "all", 1), 0);
    assert_int_equal(make(&scene, false), 0);
    assert_int_equal(scene.dirs.shifted.n_items, 0);
    tear_down(&scene);
}

static void test_all_tasks_of_an_allocation_have_one_range(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_shifted(&scene);
    uid_t base = scene.dirs.base;
    /* Nothing has been shifted yet, as of another task that starts at the same time. */
    make_shifted(&scene);
    assert_int_equal(scene.dirs.base, base);
    /* Whatever was chosen once stays. */
    give_to(&scene, ALLOC "/alloc", 524288 + 7 * 65536 + 1000);
    make_shifted(&scene);
    assert_int_equal(scene.dirs.base, 524288 + 7 * 65536);
    tear_down(&scene);
}

static void test_the_range_of_another_allocation_is_not_taken(void **state)
{
    static const char *const marks[] = { OTHER "/alloc", OTHER "/web/local", OTHER "/web/secrets" };
    struct scene scene = set_up();

    (void)state;
    make_alloc(scene.dir, OTHER);
    make_shifted(&scene);
    uid_t base = scene.dirs.base;
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        give_to(&scene, marks[i], base);
        make_shifted(&scene);
        assert_int_not_equal(scene.dirs.base, base);
        give_to(&scene, marks[i], 0);
    }
    make_shifted(&scene);
    assert_int_equal(scene.dirs.base, base);
    tear_down(&scene);
}

static void test_a_range_that_nspawn_has_locked_is_not_taken(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_shifted(&scene);
    uid_t base = scene.dirs.base;
    CLEANUP_FREE char *path = alloc_printf(LOCKS "/%u", base);
    assert_true(mkdir("/run/systemd", 0755) == 0 || errno == EEXIST);
    assert_true(mkdir(LOCKS, 0755) == 0 || errno == EEXIST);
    CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    make_shifted(&scene); /* a file that was left behind is no lock */
    assert_int_equal(scene.dirs.base, base);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    make_shifted(&scene);
    assert_int_not_equal(scene.dirs.base, base);
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_directories_stand_where_nomad_says),
        FD_LEAK_TEST(test_what_has_no_variable_is_not_bound),
        FD_LEAK_TEST(test_logs_that_are_not_there_are_not_bound),
        FD_LEAK_TEST(test_paths_that_can_not_be_are_refused),
        FD_LEAK_TEST(test_names_that_lead_elsewhere_are_refused),
        FD_LEAK_TEST(test_missing_and_odd_directories_are_named),
        FD_LEAK_TEST(test_two_directories_have_two_places),
        FD_LEAK_TEST(test_only_what_can_not_be_mapped_is_shifted),
        FD_LEAK_TEST(test_without_a_user_namespace_nothing_is_shifted),
        FD_LEAK_TEST(test_all_tasks_of_an_allocation_have_one_range),
        FD_LEAK_TEST(test_the_range_of_another_allocation_is_not_taken),
        FD_LEAK_TEST(test_a_range_that_nspawn_has_locked_is_not_taken),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
