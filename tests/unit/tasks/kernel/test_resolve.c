#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/resolve.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

/* <dir>/file, <dir>/in/file of one byte, <dir>/in/up -> ../file, <dir>/in/root -> /file */
struct scene {
    char *dir;
    int in_fd;
};

static struct scene set_up(void)
{
    struct scene scene = { .dir = scratch_dir_new() };
    CLEANUP_FREE char *in = scratch_dir_path(scene.dir, "in");
    CLEANUP_FREE char *up = scratch_dir_path(scene.dir, "in/up");
    CLEANUP_FREE char *root = scratch_dir_path(scene.dir, "in/root");

    assert_int_equal(mkdir(in, 0700), 0);
    scratch_dir_write(scene.dir, "file", "");
    scratch_dir_write(scene.dir, "in/file", "1");
    assert_int_equal(symlink("../file", up), 0);
    assert_int_equal(symlink("/file", root), 0);
    scene.in_fd = open(in, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(scene.in_fd >= 0);
    return scene;
}

static void tear_down(struct scene *scene)
{
    close_fd(scene->in_fd);
    scratch_dir_free(scene->dir);
}

/* The size of what is opened, or the error. */
static int size_of(const struct scene *scene, const char *path, int flags, uint64_t resolve)
{
    struct stat st;

    CLEANUP_CLOSE int fd = resolve_open(scene->in_fd, path, flags, resolve);
    if (fd < 0)
        return fd;
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    return (int)st.st_size;
}

static void test_path_leads_as_far_as_it_may(void **state)
{
    static const char *const paths[] = { "file", "up", "root", "../file", "/file" };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(size_of(&scene, paths[i], O_PATH, RESOLVE_IN_ROOT), 1);
        assert_int_equal(size_of(&scene, paths[i], O_PATH, RESOLVE_BENEATH), i == 0 ? 1 : -EXDEV);
    }
    assert_int_equal(size_of(&scene, "../file", O_PATH, 0), 0);
    assert_int_equal(size_of(&scene, "up", O_PATH, RESOLVE_NO_SYMLINKS), -ELOOP);
    tear_down(&scene);
}

static void test_errors_are_answered(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(size_of(&scene, "none", O_PATH, RESOLVE_IN_ROOT), -ENOENT);
    assert_int_equal(size_of(&scene, "file", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT), -ENOTDIR);
    assert_int_equal(size_of(&scene, "", O_PATH, RESOLVE_IN_ROOT), -ENOENT);
    assert_int_equal(resolve_open(-EBADF, "file", O_PATH, RESOLVE_IN_ROOT), -EBADF);
    assert_int_equal(size_of(&scene, "file", O_PATH, UINT64_MAX), -EINVAL);
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_path_leads_as_far_as_it_may),
        FD_LEAK_TEST(test_errors_are_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
