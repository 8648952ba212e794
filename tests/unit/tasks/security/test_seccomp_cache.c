/* Real files, in a directory of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/hash.h"
#include "tasks/security/seccomp_cache.h"
#include "tasks/security/seccomp_key.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/security/filter_list.h"

#define KEY "nspawn\nkernel\n--capability=CAP_NET_ADMIN"

struct scene {
    char *root, *dir, *library, *file;
    struct strv libraries;
    struct filter_list programs;
};

static void note_library(struct scene *scene)
{
    CLEANUP_FREE char *identity = NULL;

    strv_done(&scene->libraries);
    assert_int_equal(seccomp_key_identity(scene->library, &identity), 0);
    strv_printf(&scene->libraries, "%s\t%s", identity, scene->library);
}

static void store(struct scene *scene)
{
    assert_int_equal(seccomp_cache_store(scene->dir, KEY, &scene->libraries, scene->programs.bytes,
                                         scene->programs.n),
                     0);
}

static struct scene set_up(void)
{
    struct scene scene = { .root = scratch_dir_new() };

    scene.dir = alloc_printf("%s/cache/seccomp", scene.root);
    scene.library = alloc_printf("%s/library", scene.root);
    scene.file = alloc_printf("%s/%016llx", scene.dir,
                              (unsigned long long)hash_bytes(KEY, strlen(KEY)));
    scratch_dir_write(scene.root, "library", "one");
    note_library(&scene);
    filter_list_append_refusal(&scene.programs, SYS_getppid, ENOTTY);
    filter_list_append_refusal(&scene.programs, SYS_getpgid, EDOM);
    store(&scene);
    return scene;
}

static void tear_down(struct scene *scene)
{
    strv_done(&scene->libraries);
    free(scene->file);
    free(scene->library);
    free(scene->dir);
    scratch_dir_free(scene->root);
}

static void expect_found(const struct scene *scene)
{
    CLEANUP_CLOSE int fd = seccomp_cache_find(scene->dir, KEY);
    uint8_t found[sizeof(scene->programs.bytes)];

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, found, sizeof(found), 0), scene->programs.n);
    assert_memory_equal(found, scene->programs.bytes, scene->programs.n);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
}

static void test_what_was_stored_is_found_and_nobody_elses_to_see(void **state)
{
    struct scene scene = set_up();
    struct stat file;

    (void)state;
    expect_found(&scene);
    assert_int_equal(stat(scene.file, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(stat(scene.dir, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0700);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY "x"), -ENOENT);
    seccomp_cache_remove(scene.dir, KEY);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -ENOENT);
    tear_down(&scene);
}

static void test_each_damaged_byte_is_noticed(void **state)
{
    struct scene scene = set_up();
    struct stat file;
    CLEANUP_CLOSE int fd = open(scene.file, O_RDWR | O_CLOEXEC);

    (void)state;
    assert_int_equal(fstat(fd, &file), 0);
    for (off_t at = 0; at < file.st_size; at++) {
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EBADMSG);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    expect_found(&scene);
    for (off_t n = file.st_size - 1; n >= 0; n--) {
        assert_int_equal(ftruncate(fd, n), 0);
        assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EBADMSG);
    }
    tear_down(&scene);
}

static void test_file_that_others_can_write_or_of_another_owner_is_refused(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(chmod(scene.file, 0620), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EPERM);
    assert_int_equal(chmod(scene.file, 0602), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EPERM);
    assert_int_equal(chmod(scene.file, 0600), 0);
    expect_found(&scene);
    if (geteuid() == 0) {
        assert_int_equal(chown(scene.file, 1000, 0), 0);
        assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EPERM);
    }
    assert_int_equal(unlink(scene.file), 0);
    assert_int_equal(symlink(scene.library, scene.file), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -ELOOP);
    tear_down(&scene);
}

static void test_directory_of_others_is_not_used(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(chmod(scene.dir, 0720), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EPERM);
    assert_int_equal(seccomp_cache_store(scene.dir, KEY, &scene.libraries, scene.programs.bytes,
                                         scene.programs.n),
                     -EPERM);
    assert_int_equal(chmod(scene.dir, 0700), 0);
    expect_found(&scene);
    tear_down(&scene);
}

/* To open one would wait for a writer. */
static void test_fifo_is_refused_at_once(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(unlink(scene.file), 0);
    assert_int_equal(mkfifo(scene.file, 0600), 0);
    (void)alarm(10); /* ends a test that waits */
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -EPERM);
    (void)alarm(0);
    tear_down(&scene);
}

/* Jobs choose what is in a key. */
static void test_oldest_go_when_there_are_too_many(void **state)
{
    struct scene scene = set_up();
    const struct timespec old[] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

    (void)state;
    for (int i = 0; i < SECCOMP_CACHE_FILES_MAX - 1; i++) {
        CLEANUP_FREE char *key = alloc_printf("key %d", i);
        assert_int_equal(seccomp_cache_store(scene.dir, key, &scene.libraries,
                                             scene.programs.bytes, scene.programs.n),
                         0);
    }
    expect_found(&scene);
    assert_int_equal(scratch_dir_count(scene.dir), SECCOMP_CACHE_FILES_MAX);
    assert_int_equal(utimensat(AT_FDCWD, scene.file, old, 0), 0);
    assert_int_equal(seccomp_cache_store(scene.dir, "one more", &scene.libraries,
                                         scene.programs.bytes, scene.programs.n),
                     0);
    assert_int_equal(scratch_dir_count(scene.dir), SECCOMP_CACHE_FILES_MAX);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -ENOENT);
    CLEANUP_CLOSE int fd = seccomp_cache_find(scene.dir, "one more");
    assert_true(fd >= 0);
    tear_down(&scene);
}

/* By chance, or made so. */
static void test_another_key_of_the_same_name_is_not_taken(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *other = alloc_printf("%s/%016llx", scene.dir,
                                            (unsigned long long)hash_bytes("other", 5));

    (void)state;
    assert_int_equal(rename(scene.file, other), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, "other"), -ESTALE);
    tear_down(&scene);
}

static void test_replaced_library_makes_it_stale(void **state)
{
    struct scene scene = set_up();

    (void)state;
    scratch_dir_write(scene.root, "library", "other");
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -ESTALE);
    note_library(&scene);
    store(&scene);
    expect_found(&scene);
    assert_int_equal(unlink(scene.library), 0);
    assert_int_equal(seccomp_cache_find(scene.dir, KEY), -ESTALE);
    tear_down(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_was_stored_is_found_and_nobody_elses_to_see),
        FD_LEAK_TEST(test_each_damaged_byte_is_noticed),
        FD_LEAK_TEST(test_file_that_others_can_write_or_of_another_owner_is_refused),
        FD_LEAK_TEST(test_directory_of_others_is_not_used),
        FD_LEAK_TEST(test_fifo_is_refused_at_once),
        FD_LEAK_TEST(test_oldest_go_when_there_are_too_many),
        FD_LEAK_TEST(test_another_key_of_the_same_name_is_not_taken),
        FD_LEAK_TEST(test_replaced_library_makes_it_stale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
