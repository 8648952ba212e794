/* Locks are between processes, so the other plugin is a child process here. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/persist/runtime_dir.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"

#define WEB RUNTIME_DIR_ROOT "/web"

struct scene {
    sd_event *event;
    struct runtime_dir_op *op;
    struct runtime_dir *dir;
    struct fail fail;
    bool was_taken;
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    assert_true(sd_event_new(&scene->event) >= 0);
    return scene;
}

/* Nothing below /run may be left by any test. */
static void scene_free(struct scene *scene)
{
    runtime_dir_op_free(scene->op);
    if (scene->dir != NULL)
        runtime_dir_remove(scene->dir);
    runtime_dir_free(scene->dir);
    sd_event_unref(scene->event);
    fail_done(&scene->fail);
    free(scene);
    assert_true(rmdir(RUNTIME_DIR_ROOT) == 0 || errno == ENOENT);
}

static void on_taken(struct runtime_dir *dir, const struct fail *fail, void *data)
{
    struct scene *scene = data;

    assert_false(scene->was_taken);
    assert_true((dir == NULL) == (fail != NULL));
    scene->op = NULL;
    scene->was_taken = true;
    scene->dir = dir;
    if (fail != NULL)
        fail_copy(&scene->fail, fail);
}

static void start(struct scene *scene, bool create)
{
    scene->was_taken = false;
    scene->op = runtime_dir_take(scene->event, "web", create, on_taken, scene);
    assert_false(scene->was_taken);
}

static void take(struct scene *scene, bool create)
{
    start(scene, create);
    assert_true(event_run_until_set(scene->event, &scene->was_taken));
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    (void)close(fd);
}

/* --- the directory --------------------------------------------------------------------------- */

static void test_directory_is_made_for_root_alone(void **state)
{
    struct scene *scene = scene_new();
    mode_t before = umask(0);

    (void)state;
    take(scene, true);
    (void)umask(before);
    assert_int_equal(scene->fail.error, 0);
    assert_int_equal(mode_of(RUNTIME_DIR_ROOT), S_IFDIR | 0700);
    assert_int_equal(mode_of(WEB), S_IFDIR | 0700);
    assert_string_equal(runtime_dir_path(scene->dir), WEB);
    assert_false(runtime_dir_is_left_over(scene->dir));
    assert_int_equal(faccessat(runtime_dir_fd(scene->dir), "lock", F_OK, 0), 0);
    scene_free(scene);
}

static void test_one_that_was_there_is_told(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    assert_int_equal(mkdir(RUNTIME_DIR_ROOT, 0700), 0);
    assert_int_equal(mkdir(WEB, 0700), 0);
    take(scene, true);
    assert_true(runtime_dir_is_left_over(scene->dir));
    scene_free(scene);
}

static void test_one_that_is_recovered_must_be_there(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    take(scene, false);
    expect_fail(scene->fail.error, &scene->fail, -ENOENT,
                "cannot open '" RUNTIME_DIR_ROOT "': No such file or directory");
    assert_false(exists(RUNTIME_DIR_ROOT));

    assert_int_equal(mkdir(RUNTIME_DIR_ROOT, 0700), 0);
    take(scene, false);
    expect_fail(scene->fail.error, &scene->fail, -ENOENT,
                "cannot open '" WEB "': No such file or directory");

    assert_int_equal(mkdir(WEB, 0700), 0);
    take(scene, false);
    expect_fail(scene->fail.error, &scene->fail, -ENOENT,
                "cannot open '" WEB "/lock': No such file or directory");

    make_file(WEB "/lock");
    take(scene, false);
    assert_int_equal(scene->fail.error, 0);
    assert_false(runtime_dir_is_left_over(scene->dir));
    scene_free(scene);
}

static void test_links_are_not_followed(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    assert_int_equal(mkdir("/run/elsewhere", 0700), 0);
    assert_int_equal(symlink("/run/elsewhere", RUNTIME_DIR_ROOT), 0);
    take(scene, true);
    assert_null(scene->dir);
    fail_done(&scene->fail);
    assert_int_equal(unlink(RUNTIME_DIR_ROOT), 0);

    assert_int_equal(mkdir(RUNTIME_DIR_ROOT, 0700), 0);
    assert_int_equal(symlink("/run/elsewhere", WEB), 0);
    take(scene, true);
    assert_null(scene->dir);
    fail_done(&scene->fail);
    assert_int_equal(unlink(WEB), 0);

    assert_int_equal(mkdir(WEB, 0700), 0);
    assert_int_equal(symlink("/run/elsewhere/lock", WEB "/lock"), 0);
    take(scene, true);
    expect_fail(scene->fail.error, &scene->fail, -ELOOP,
                "cannot open '" WEB "/lock': Too many levels of symbolic links");
    assert_int_equal(rmdir("/run/elsewhere"), 0);
    assert_int_equal(unlink(WEB "/lock"), 0);
    assert_int_equal(rmdir(WEB), 0);
    scene_free(scene);
}

static void test_id_is_kept(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *none = NULL, *first = NULL, *second = NULL;

    (void)state;
    take(scene, true);
    none = runtime_dir_read_id(scene->dir);
    assert_null(none);
    assert_int_equal(runtime_dir_write_id(scene->dir, "alloc/web/0123456789", NULL), 0);
    first = runtime_dir_read_id(scene->dir);
    assert_string_equal(first, "alloc/web/0123456789");
    assert_int_equal(runtime_dir_write_id(scene->dir, "a/b/1", NULL), 0);
    second = runtime_dir_read_id(scene->dir);
    assert_string_equal(second, "a/b/1");
    assert_int_equal(mode_of(WEB "/id"), S_IFREG | 0600);
    scene_free(scene);
}

static void test_longest_id_is_read_back_and_a_longer_one_refused(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *id = alloc_zero(4096 + 2, 1);
    CLEANUP_FREE char *read_back = NULL;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    memset(id, 'a', 4096 + 1);
    take(scene, true);
    expect_fail_with(runtime_dir_write_id(scene->dir, id, &fail), &fail, -EINVAL, "too long");
    assert_int_equal(runtime_dir_write_id(scene->dir, id + 1, NULL), 0);
    read_back = runtime_dir_read_id(scene->dir);
    assert_string_equal(read_back, id + 1);
    scene_free(scene);
}

static void test_id_is_not_written_or_read_through_a_link(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *through = NULL, *id = NULL;

    (void)state;
    take(scene, true);
    make_file("/run/elsewhere");
    assert_int_equal(symlink("/run/elsewhere", WEB "/id"), 0);
    through = runtime_dir_read_id(scene->dir);
    assert_null(through);
    assert_int_equal(runtime_dir_write_id(scene->dir, "x", NULL), 0);
    assert_int_equal(mode_of(WEB "/id"), S_IFREG | 0600);
    id = runtime_dir_read_id(scene->dir);
    assert_string_equal(id, "x");
    assert_int_equal(unlink("/run/elsewhere"), 0);
    scene_free(scene);
}

static void test_id_that_cannot_be_written_is_told(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    take(scene, true);
    assert_int_equal(mkdir(WEB "/id", 0700), 0);
    expect_fail(runtime_dir_write_id(scene->dir, "x", &fail), &fail, -EISDIR,
                "cannot write '" WEB "/id': Is a directory");
    assert_int_equal(rmdir(WEB "/id"), 0);
    scene_free(scene);
}

static void test_remove_takes_all_that_a_task_makes(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    take(scene, true);
    make_file(WEB "/file");
    assert_int_equal(mkfifo(WEB "/stdout", 0666), 0);
    assert_int_equal(symlink("/run", WEB "/link"), 0);
    assert_int_equal(mkdir(WEB "/init", 0755), 0);
    make_file(WEB "/init/socket");
    assert_int_equal(symlink("/run", WEB "/init/link"), 0);
    runtime_dir_remove(scene->dir);
    assert_false(exists(WEB));
    assert_true(exists("/run"));
    runtime_dir_remove(scene->dir); /* twice is fine */
    scene_free(scene);
}

/* --- the lock -------------------------------------------------------------------------------- */

struct holder {
    pid_t pid;
    int order_fd; /* what it is told to do; its end is the child's, too */
};

static void hold(bool create, int ready_fd, int order_fd) __attribute__((noreturn));
static void hold(bool create, int ready_fd, int order_fd)
{
    struct scene *scene = ALLOC_NEW(struct scene);
    char order;

    if (sd_event_new(&scene->event) < 0)
        _exit(1);
    scene->op = runtime_dir_take(scene->event, "web", create, on_taken, scene);
    while (!scene->was_taken)
        (void)sd_event_run(scene->event, UINT64_MAX);
    if (scene->dir == NULL || write(ready_fd, "", 1) != 1)
        _exit(2);
    if (read(order_fd, &order, 1) == 1 && order == 'r')
        runtime_dir_remove(scene->dir);
    _exit(0);
}

static struct holder start_holder(bool create)
{
    int ready[2], order[2];
    char byte;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(order, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(order[1]);
        hold(create, ready[1], order[0]);
    }
    (void)close(ready[1]);
    (void)close(order[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return (struct holder){ pid, order[1] };
}

static void await_end(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* 'r': it removes the directory before it ends. */
static void end_holder(struct holder *holder, char order)
{
    assert_int_equal(write(holder->order_fd, &order, 1), 1);
    holder->order_fd = close_fd(holder->order_fd);
}

static void expect_waiting(struct scene *scene)
{
    event_run_pending(scene->event);
    assert_false(scene->was_taken);
    assert_int_equal(event_count_during(scene->event, 20000), 0); /* it does not poll */
    assert_false(scene->was_taken);
}

static void test_end_of_the_holder_is_awaited(void **state)
{
    struct scene *scene = scene_new();
    struct holder holder = start_holder(true);

    (void)state;
    start(scene, false);
    expect_waiting(scene);
    end_holder(&holder, 'e');
    assert_true(event_run_until_set(scene->event, &scene->was_taken));
    assert_non_null(scene->dir);
    await_end(holder.pid);
    scene_free(scene);
}

static void test_death_of_the_holder_frees_the_lock(void **state)
{
    struct scene *scene = scene_new();
    struct holder holder = start_holder(true);
    int status;

    (void)state;
    start(scene, true);
    expect_waiting(scene);
    assert_int_equal(kill(holder.pid, SIGKILL), 0);
    assert_true(event_run_until_set(scene->event, &scene->was_taken));
    assert_true(runtime_dir_is_left_over(scene->dir));
    assert_int_equal(waitpid(holder.pid, &status, 0), holder.pid);
    close_fd(holder.order_fd);
    scene_free(scene);
}

/* Else two plugins would each have "the" directory: one by its name, one without. */
static void test_directory_that_its_holder_removed_is_not_taken(void **state)
{
    struct scene *scene = scene_new();
    struct holder holder = start_holder(true);

    (void)state;
    start(scene, false);
    expect_waiting(scene);
    end_holder(&holder, 'r');
    assert_true(event_run_until_set(scene->event, &scene->was_taken));
    expect_fail(scene->fail.error, &scene->fail, -ENOENT,
                "cannot open '" WEB "': No such file or directory");
    await_end(holder.pid);
    scene_free(scene);
}

static void test_directory_that_its_holder_removed_is_made_anew(void **state)
{
    struct scene *scene = scene_new();
    struct holder holder = start_holder(true);

    (void)state;
    start(scene, true);
    expect_waiting(scene);
    end_holder(&holder, 'r');
    assert_true(event_run_until_set(scene->event, &scene->was_taken));
    assert_non_null(scene->dir);
    assert_true(exists(WEB "/lock"));
    assert_false(runtime_dir_is_left_over(scene->dir));
    await_end(holder.pid);
    scene_free(scene);
}

static void test_freed_op_says_nothing_and_holds_nothing(void **state)
{
    struct scene *scene = scene_new();
    struct holder holder = start_holder(true);

    (void)state;
    start(scene, false);
    scene->op = runtime_dir_op_free(scene->op);
    start(scene, false);
    expect_waiting(scene);
    scene->op = runtime_dir_op_free(scene->op);
    end_holder(&holder, 'e');
    await_end(holder.pid);
    event_run_pending(scene->event);
    assert_false(scene->was_taken);
    take(scene, false);
    assert_non_null(scene->dir);
    scene_free(scene);
}

static void test_freed_directory_can_be_taken_by_another_process(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    take(scene, true);
    scene->dir = runtime_dir_free(scene->dir);
    struct holder holder = start_holder(false);
    end_holder(&holder, 'r');
    await_end(holder.pid);
    assert_false(exists(WEB));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_directory_is_made_for_root_alone),
        FD_LEAK_TEST(test_one_that_was_there_is_told),
        FD_LEAK_TEST(test_one_that_is_recovered_must_be_there),
        FD_LEAK_TEST(test_links_are_not_followed),
        FD_LEAK_TEST(test_id_is_kept),
        FD_LEAK_TEST(test_longest_id_is_read_back_and_a_longer_one_refused),
        FD_LEAK_TEST(test_id_is_not_written_or_read_through_a_link),
        FD_LEAK_TEST(test_id_that_cannot_be_written_is_told),
        FD_LEAK_TEST(test_remove_takes_all_that_a_task_makes),
        FD_LEAK_TEST(test_end_of_the_holder_is_awaited),
        FD_LEAK_TEST(test_death_of_the_holder_frees_the_lock),
        FD_LEAK_TEST(test_directory_that_its_holder_removed_is_not_taken),
        FD_LEAK_TEST(test_directory_that_its_holder_removed_is_made_anew),
        FD_LEAK_TEST(test_freed_op_says_nothing_and_holds_nothing),
        FD_LEAK_TEST(test_freed_directory_can_be_taken_by_another_process),
    };

    return cmocka_run_group_tests(tests, private_run_or_skip, NULL);
}
