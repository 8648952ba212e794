/* Directories that look like nspawn's copies, and locks as nspawn takes them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/images/ephemeral_copy.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir, *image;
};

static void make_tree(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);
    CLEANUP_FREE char *sub = alloc_printf("%s/etc", path);
    CLEANUP_FREE char *file = alloc_printf("%s/etc/passwd", name);

    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    scratch_dir_write(scene->dir, file, "root");
}

static bool is_there(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);
    return access(path, F_OK) == 0;
}

static struct scene set_up(void)
{
    struct scene scene = { .dir = scratch_dir_new() };

    scene.image = scratch_dir_path(scene.dir, "debian");
    make_tree(&scene, "debian");
    return scene;
}

static void tear_down(struct scene *scene)
{
    free(scene->image);
    scratch_dir_free(scene->dir);
}

static void test_what_nobody_holds_is_removed(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_false(ephemeral_copy_exists(scene.image));
    make_tree(&scene, ".#machine.debian01e78f5e058db40a");
    make_tree(&scene, "debian/.#machine.01e78f5e058db40a");
    scratch_dir_write(scene.dir, ".#.#machine.debian01e78f5e058db40a.lck", "");
    assert_true(ephemeral_copy_exists(scene.image));
    assert_int_equal(ephemeral_copy_remove(scene.image), 0);
    assert_false(ephemeral_copy_exists(scene.image));
    assert_false(is_there(&scene, ".#machine.debian01e78f5e058db40a"));
    assert_false(is_there(&scene, ".#.#machine.debian01e78f5e058db40a.lck"));
    assert_false(is_there(&scene, "debian/.#machine.01e78f5e058db40a"));
    assert_true(is_there(&scene, "debian/etc/passwd"));
    tear_down(&scene);
}

static void test_what_is_held_stays(void **state)
{
    struct scene scene = set_up();
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    (void)state;
    for (int way = 0; way < 2; way++) {
        make_tree(&scene, ".#machine.debian01e78f5e058db40a");
        scratch_dir_write(scene.dir, ".#.#machine.debian01e78f5e058db40a.lck", "");
        CLEANUP_FREE char *lock = scratch_dir_path(scene.dir,
                                                   ".#.#machine.debian01e78f5e058db40a.lck");
        int fd = open(lock, O_RDWR | O_CLOEXEC);
        assert_int_equal(way == 0 ? flock(fd, LOCK_EX) : fcntl(fd, F_OFD_SETLK, &whole), 0);
        assert_int_equal(ephemeral_copy_remove(scene.image), 0);
        assert_true(is_there(&scene, ".#machine.debian01e78f5e058db40a"));
        assert_int_equal(close(fd), 0);
        assert_int_equal(ephemeral_copy_remove(scene.image), 0);
        assert_false(is_there(&scene, ".#machine.debian01e78f5e058db40a"));
    }
    tear_down(&scene);
}

static void test_what_is_no_copy_of_it_stays(void **state)
{
    static const char *const others[] = {
        ".#machine.debian2-01e78f5e058db40", /* of another image */
        ".#machine.debian201e78f5e058db40a", ".#machine.debian01e78f5e058db40",
        ".#machine.debian01E78F5E058DB40A",  "machine.debian01e78f5e058db40a",
    };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        make_tree(&scene, others[i]);
    assert_false(ephemeral_copy_exists(scene.image));
    assert_int_equal(ephemeral_copy_remove(scene.image), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_true(is_there(&scene, others[i]));
    tear_down(&scene);
}

static void test_links_in_a_copy_are_not_followed(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_tree(&scene, ".#machine.debian01e78f5e058db40a");
    CLEANUP_FREE char *link = scratch_dir_path(scene.dir, ".#machine.debian01e78f5e058db40a/link");
    assert_int_equal(symlink(scene.image, link), 0);
    assert_int_equal(ephemeral_copy_remove(scene.image), 0);
    assert_false(is_there(&scene, ".#machine.debian01e78f5e058db40a"));
    assert_true(is_there(&scene, "debian/etc/passwd"));
    tear_down(&scene);
}

static void test_deep_tree_goes_and_a_deeper_one_is_told(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *copy = scratch_dir_path(scene.dir, ".#machine.debian01e78f5e058db40a");

    (void)state;
    for (int levels = 500; levels <= 600; levels += 100) {
        assert_int_equal(mkdir(copy, 0755), 0);
        int fd = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < levels; i++) {
            assert_int_equal(mkdirat(fd, "d", 0700), 0);
            int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            assert_true(next >= 0);
            (void)close(fd);
            fd = next;
        }
        (void)close(fd);
        assert_int_equal(ephemeral_copy_remove(scene.image), levels == 500 ? 0 : -EMFILE);
        assert_int_equal(access(copy, F_OK), levels == 500 ? -1 : 0);
    }
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_nobody_holds_is_removed),
        FD_LEAK_TEST(test_what_is_held_stays),
        FD_LEAK_TEST(test_what_is_no_copy_of_it_stays),
        FD_LEAK_TEST(test_links_in_a_copy_are_not_followed),
        FD_LEAK_TEST(test_deep_tree_goes_and_a_deeper_one_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
