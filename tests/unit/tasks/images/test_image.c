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
#include "tasks/images/image.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

/* <dir>/task/local/tree, <dir>/agent/images/tree, <dir>/agent/both, <dir>/task/both, <dir>/file */
struct scene {
    char *dir, *task_dir, *agent_dir;
    int home_fd; /* the directory in which the test was started */
};

static void make_directory(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

static struct scene set_up(void)
{
    static const char *const directories[] = { "task",  "task/local",   "task/local/tree",
                                               "agent", "agent/images", "agent/images/tree",
                                               "agent/both", "task/both" };
    CLEANUP_FREE char *dir = scratch_dir_new();
    struct scene scene = { .dir = realpath(dir, NULL) };

    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        make_directory(&scene, directories[i]);
    scratch_dir_write(scene.dir, "task/file", "");
    scene.task_dir = scratch_dir_path(scene.dir, "task");
    scene.agent_dir = scratch_dir_path(scene.dir, "agent");
    scene.home_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(scene.agent_dir), 0);
    return scene;
}

static void tear_down(struct scene *scene)
{
    assert_int_equal(fchdir(scene->home_fd), 0);
    close_fd(scene->home_fd);
    free(scene->task_dir);
    free(scene->agent_dir);
    scratch_dir_free(scene->dir);
}

static void expect_found(const struct scene *scene, const char *image, const char *expected)
{
    CLEANUP_FREE char *path = NULL, *whole = scratch_dir_path(scene->dir, expected);
    CLEANUP_FAIL struct fail fail = {};

    int r = image_find(image, scene->task_dir, &path, &fail);
    if (r != IMAGE_FOUND)
        fail_msg("%s: %d, %s", image, r, r < 0 ? fail_text(&fail) : "to be asked");
    assert_string_equal(path, whole);
}

static void test_path_is_looked_for_below_the_task_then_the_agent(void **state)
{
    struct scene scene = set_up();

    (void)state;
    expect_found(&scene, "local/tree", "task/local/tree");
    expect_found(&scene, "images/tree", "agent/images/tree");
    expect_found(&scene, "./images//tree/", "agent/images/tree");
    expect_found(&scene, "../agent/images", "agent/images");
    tear_down(&scene);
}

static void test_task_s_own_goes_before_the_agent_s(void **state)
{
    struct scene scene = set_up();

    (void)state;
    expect_found(&scene, "both", "task/both");
    tear_down(&scene);
}

static void test_absolute_path_is_taken_as_it_is(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *image = scratch_dir_path(scene.dir, "agent/both");
    CLEANUP_FREE char *link = scratch_dir_path(scene.dir, "link");

    (void)state;
    expect_found(&scene, image, "agent/both");
    assert_int_equal(symlink("agent/both", link), 0);
    expect_found(&scene, link, "link");
    tear_down(&scene);
}

/* What the task left there is looked at by its next start. */
static void test_link_below_the_task_leads_no_further(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *link = scratch_dir_path(scene.dir, "task/link");
    CLEANUP_FAIL struct fail fail = {};
    static const char *const targets[] = { "../agent/both", "/", ".." };
    CLEANUP_FREE char *path = NULL;

    (void)state;
    assert_int_equal(symlink("local/tree", link), 0);
    expect_found(&scene, "link", "task/local/tree");
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(targets[i], link), 0);
        expect_fail(image_find("link", scene.task_dir, &path, &fail), &fail, -EXDEV,
                    "image 'link': leads out of the task's directory; give an absolute path");
    }
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("nowhere", link), 0); /* leads nowhere: as if it was not there */
    assert_int_equal(image_find("link", scene.task_dir, &path, NULL), IMAGE_ASK_MACHINED);
    assert_null(path);
    tear_down(&scene);
}

static void test_name_that_is_no_path_may_be_machined_s(void **state)
{
    struct scene scene = set_up();
    char *path = NULL;

    (void)state;
    assert_int_equal(image_find("debian", scene.task_dir, &path, NULL), IMAGE_ASK_MACHINED);
    assert_null(path);
    tear_down(&scene);
}

static void expect_refused(const struct scene *scene, const char *image, int error,
                           const char *text)
{
    CLEANUP_FAIL struct fail fail = {};
    char *path = NULL;

    expect_fail(image_find(image, scene->task_dir, &path, &fail), &fail, error, text);
    assert_null(path);
}

static void test_path_that_is_nowhere_is_refused_with_the_places(void **state)
{
    struct scene scene = set_up();

    (void)state;
    expect_refused(&scene, "images/none", -ENOENT,
                   "image 'images/none': neither the task's directory nor the agent's working "
                   "directory has it; give an absolute path or the name of an image as `machinectl "
                   "list-images` shows it");
    expect_refused(&scene, "/nowhere/at/all", -ENOENT,
                   "image '/nowhere/at/all': cannot use '/nowhere/at/all': No such file or "
                   "directory");
    tear_down(&scene);
}

static void test_what_is_no_directory_is_refused(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *fifo = scratch_dir_path(scene.dir, "task/fifo");
    CLEANUP_FREE char *disk_text = alloc_printf(
            "image 'file': '%s/file' is a disk image, which this version can't run; unpack it into "
            "a directory",
            scene.task_dir);
    CLEANUP_FREE char *fifo_text = alloc_printf("image 'fifo': '%s' is no directory", fifo);

    (void)state;
    expect_refused(&scene, "file", -EOPNOTSUPP, disk_text);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    expect_refused(&scene, "fifo", -ENOTDIR, fifo_text);
    expect_refused(&scene, "/dev/null", -ENOTDIR,
                   "image '/dev/null': '/dev/null' is no directory");
    tear_down(&scene);
}

static void test_working_directory_that_is_gone_has_nothing(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *gone = scratch_dir_path(scene.dir, "gone");
    char *path = NULL;

    (void)state;
    assert_int_equal(mkdir(gone, 0700), 0);
    assert_int_equal(chdir(gone), 0);
    assert_int_equal(rmdir(gone), 0);
    assert_int_equal(image_find("images", scene.task_dir, &path, NULL), IMAGE_ASK_MACHINED);
    expect_found(&scene, "both", "task/both");
    tear_down(&scene);
}

/* --- machined's answer ----------------------------------------------------------------------- */

static void test_directory_that_machined_names_is_taken(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *path = NULL;

    (void)state;
    assert_int_equal(image_take_known("debian", scene.agent_dir, NULL, &path, NULL), 0);
    assert_string_equal(path, scene.agent_dir);
    tear_down(&scene);
}

static void test_answers_of_machined_that_do_not_help_are_told(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *file = scratch_dir_path(scene.dir, "task/file");
    CLEANUP_FREE char *text = alloc_printf("image 'raw': '%s' is a disk image, which this version "
                                           "can't run; unpack it into a directory",
                                           file);
    CLEANUP_FAIL struct fail unknown = {}, later = {}, refused = {}, fail = {};
    char *path = NULL;

    (void)state;
    (void)fail_set(&unknown, -ENOENT, "machined knows no image 'debian'");
    (void)fail_set_recoverable(&later, -ENOTCONN, "the system bus is gone");
    (void)fail_set(&refused, -EACCES, "not you");
    expect_fail(image_take_known("debian", NULL, &unknown, &path, &fail), &fail, -ENOENT,
                "image 'debian': no directory of this name in the task's directory or the agent's "
                "working directory, and `machinectl list-images` does not show it");
    assert_int_equal(image_take_known("debian", NULL, &later, &path, &fail), -ENOTCONN);
    assert_true(fail.recoverable);
    expect_fail(fail.error, &fail, -ENOTCONN, "image 'debian': the system bus is gone");
    assert_int_equal(image_take_known("debian", NULL, &refused, &path, &fail), -EACCES);
    assert_false(fail.recoverable);
    expect_fail(fail.error, &fail, -EACCES, "image 'debian': not you");
    expect_fail(image_take_known("raw", file, NULL, &path, &fail), &fail, -EOPNOTSUPP, text);
    assert_null(path);
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_path_is_looked_for_below_the_task_then_the_agent),
        FD_LEAK_TEST(test_task_s_own_goes_before_the_agent_s),
        FD_LEAK_TEST(test_absolute_path_is_taken_as_it_is),
        FD_LEAK_TEST(test_link_below_the_task_leads_no_further),
        FD_LEAK_TEST(test_name_that_is_no_path_may_be_machined_s),
        FD_LEAK_TEST(test_path_that_is_nowhere_is_refused_with_the_places),
        FD_LEAK_TEST(test_what_is_no_directory_is_refused),
        FD_LEAK_TEST(test_working_directory_that_is_gone_has_nothing),
        FD_LEAK_TEST(test_directory_that_machined_names_is_taken),
        FD_LEAK_TEST(test_answers_of_machined_that_do_not_help_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
