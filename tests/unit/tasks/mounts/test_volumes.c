/* Nomad's volumes of a task: where they are bound, and as whose. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "tasks/kernel/idmap.h"
#include "tasks/mounts/volumes.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir;
    struct task_spec spec;
    struct binds binds;
    struct fail fail;
};

static struct scene set_up(void)
{
    return (struct scene){ .dir = scratch_dir_new() };
}

static void tear_down(struct scene *scene)
{
    assert_int_equal(unsetenv(IDMAP_OFF_ENV), 0);
    binds_done(&scene->binds);
    task_spec_done(&scene->spec);
    fail_done(&scene->fail);
    scratch_dir_free(scene->dir);
}

static void mount_at(struct scene *scene, const char *target, bool read_only)
{
    struct task_spec *spec = &scene->spec;

    spec->mounts = alloc_grow(spec->mounts, spec->n_mounts + 1, sizeof(*spec->mounts));
    spec->mounts[spec->n_mounts++] = (struct task_mount){
        .host_path = alloc_strdup(scene->dir),
        .task_path = alloc_strdup(target),
        .read_only = read_only,
    };
}

static void expect_maps(struct scene *scene, bool user_namespace, enum bind_map map)
{
    binds_done(&scene->binds);
    assert_int_equal(volumes_add(&scene->spec, user_namespace, &scene->binds, NULL), 0);
    for (size_t i = 0; i < scene->binds.n_items; i++)
        assert_int_equal(scene->binds.items[i].how.map, map);
}

static void test_volumes_are_bound_as_nomad_says(void **state)
{
    struct scene scene = set_up();

    (void)state;
    mount_at(&scene, "/srv", true);
    mount_at(&scene, "/data", false);
    assert_int_equal(volumes_add(&scene.spec, false, &scene.binds, NULL), 0);
    assert_int_equal(scene.binds.n_items, 2);
    assert_string_equal(scene.binds.items[0].target, "/data");
    assert_false(scene.binds.items[0].how.read_only);
    assert_string_equal(scene.binds.items[1].target, "/srv");
    assert_true(scene.binds.items[1].how.read_only);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(scene.binds.items[i].source, scene.dir);
        assert_int_equal(scene.binds.items[i].owner, BIND_OWNER_VOLUME);
        assert_false(scene.binds.items[i].how.without_submounts);
    }
    tear_down(&scene);
}

static void test_owners_are_mapped_where_that_can_be(void **state)
{
    struct scene scene = set_up();

    (void)state;
    mount_at(&scene, "/data", false);
    bool can_map = idmap_try(scene.dir) >= 0;
    expect_maps(&scene, false, BIND_MAP_NONE);
    expect_maps(&scene, true, can_map ? BIND_MAP_IDMAP : BIND_MAP_NONE);
    assert_int_equal(setenv(IDMAP_OFF_ENV, "all", 1), 0);
    expect_maps(&scene, true, BIND_MAP_NONE);
    tear_down(&scene);
}

static void test_volumes_take_no_place_of_others(void **state)
{
    struct scene scene = set_up();

    (void)state;
    mount_at(&scene, "/data", false);
    mount_at(&scene, "/data/", false);
    expect_fail_with(volumes_add(&scene.spec, false, &scene.binds, &scene.fail), &scene.fail,
                     -EINVAL, "volume_mount: '/data' is the path inside of two binds");
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_volumes_are_bound_as_nomad_says),
        FD_LEAK_TEST(test_owners_are_mapped_where_that_can_be),
        FD_LEAK_TEST(test_volumes_take_no_place_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
