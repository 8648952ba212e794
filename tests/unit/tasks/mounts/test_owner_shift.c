/* What is shifted, what is not, and what leads elsewhere: on real files. Needs root. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/mounts/owners.h"

#define FOREIGN 2000000u /* of another container */

/* --- what is shifted -------------------------------------------------------------------------- */

static void test_all_that_is_there_is_shifted(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/dir");
    owners_make_dir(&f, "root/dir/dir");
    owners_make_file(&f, "root/file");
    owners_make_file(&f, "root/dir/dir/file");
    owners_give(&f, "root/dir/dir/file", 1000, 65535, 0640);
    CLEANUP_FREE char *fifo = owners_path(&f, "root/fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    owners_give(&f, "root/fifo", 65535, 1, 0);
    owners_start_and_wait(&f);
    owners_expect_shifted(&f, "root");
    owners_expect_shifted(&f, "root/dir");
    owners_expect_shifted(&f, "root/dir/dir");
    owners_expect_shifted(&f, "root/file");
    owners_expect(&f, "root/dir/dir/file", OWNERS_BASE + 1000, OWNERS_BASE + 65535);
    assert_int_equal(owners_look(&f, "root/dir/dir/file").st_mode & 07777, 0640);
    owners_expect(&f, "root/fifo", OWNERS_BASE + 65535, OWNERS_BASE + 1);
    owners_done(&f);
}

static void test_other_ranges_stay(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_file(&f, "root/own");
    owners_make_file(&f, "root/foreign");
    owners_make_file(&f, "root/first above");
    owners_make_file(&f, "root/mixed");
    owners_give(&f, "root/own", OWNERS_BASE, OWNERS_BASE + 65535, 0);
    owners_give(&f, "root/foreign", FOREIGN, FOREIGN + 5, 0);
    owners_give(&f, "root/first above", 65536, 65536, 0);
    owners_give(&f, "root/mixed", FOREIGN, 7, 0);
    struct stat before = owners_look(&f, "root/own");
    owners_start_and_wait(&f);
    owners_expect(&f, "root/own", OWNERS_BASE, OWNERS_BASE + 65535);
    owners_expect(&f, "root/foreign", FOREIGN, FOREIGN + 5);
    owners_expect(&f, "root/first above", 65536, 65536);
    owners_expect(&f, "root/mixed", FOREIGN, OWNERS_BASE + 7);
    struct stat after = owners_look(&f, "root/own");
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
    owners_done(&f);
}

static void test_set_user_bits_stay_where_all_is_the_containers(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_file(&f, "root/whole");
    owners_make_file(&f, "root/half");
    owners_make_dir(&f, "root/dir");
    owners_give(&f, "root/whole", 0, 5, 06755);
    owners_give(&f, "root/half", FOREIGN, 0, 06755);
    owners_give(&f, "root/dir", 0, 0, 03775);
    owners_start_and_wait(&f);
    assert_int_equal(owners_look(&f, "root/whole").st_mode, S_IFREG | 06755);
    assert_int_equal(owners_look(&f, "root/half").st_mode, S_IFREG | 0755);
    assert_int_equal(owners_look(&f, "root/dir").st_mode, S_IFDIR | 03775);
    owners_done(&f);
}

/* --- what leads elsewhere --------------------------------------------------------------------- */

static void test_links_are_shifted_themselves_and_not_followed(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "outside");
    owners_make_file(&f, "outside/file");
    CLEANUP_FREE char *outside = owners_path(&f, "outside");
    CLEANUP_FREE char *file = owners_path(&f, "outside/file");
    CLEANUP_FREE char *to_dir = owners_path(&f, "root/to dir");
    CLEANUP_FREE char *to_file = owners_path(&f, "root/to file");
    CLEANUP_FREE char *later = owners_path(&f, "root/later");
    assert_int_equal(symlink(outside, to_dir), 0);
    assert_int_equal(symlink(file, to_file), 0);
    owners_start_and_wait(&f);
    assert_int_equal(symlink("../outside", later), 0);
    owners_await_shifted(&f, "root/later");
    owners_make_file(&f, "root/later/new");
    owners_expect_idle(&f);
    owners_expect_shifted(&f, "root/to dir");
    owners_expect_shifted(&f, "root/to file");
    owners_expect_untouched(&f, "outside");
    owners_expect_untouched(&f, "outside/file");
    owners_expect_untouched(&f, "outside/new");
    owners_done(&f);
}

/* As a container would do to have something outside: there is a link now on the way to a directory
 * from which events still come. */
static void test_directory_replaced_by_a_link_leads_nowhere(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "outside");
    owners_make_file(&f, "outside/file");
    owners_make_dir(&f, "outside/inner");
    owners_make_file(&f, "outside/inner/file");
    owners_make_dir(&f, "root/dir");
    owners_make_dir(&f, "root/dir/inner");
    owners_start_and_wait(&f);
    owners_make_file(&f, "root/dir/file");
    owners_make_file(&f, "root/dir/inner/file");
    owners_move(&f, "root/dir", "root/moved");
    CLEANUP_FREE char *path = owners_path(&f, "root/dir");
    assert_int_equal(symlink("../outside", path), 0);
    owners_await_shifted(&f, "root/moved/file");
    owners_await_shifted(&f, "root/moved/inner/file");
    owners_expect_idle(&f);
    owners_expect_untouched(&f, "outside");
    owners_expect_untouched(&f, "outside/file");
    owners_expect_untouched(&f, "outside/inner");
    owners_expect_untouched(&f, "outside/inner/file");
    owners_done(&f);
}

static void test_hard_links_and_devices_are_left_alone(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_file(&f, "outside");
    CLEANUP_FREE char *outside = owners_path(&f, "outside");
    CLEANUP_FREE char *inside = owners_path(&f, "root/inside");
    CLEANUP_FREE char *later = owners_path(&f, "root/later");
    CLEANUP_FREE char *character = owners_path(&f, "root/character");
    CLEANUP_FREE char *block = owners_path(&f, "root/block");
    assert_int_equal(link(outside, inside), 0);
    assert_int_equal(mknod(character, S_IFCHR | 0600, makedev(1, 3)), 0);
    assert_int_equal(mknod(block, S_IFBLK | 0600, makedev(7, 0)), 0);
    owners_start_and_wait(&f);
    assert_int_equal(link(outside, later), 0);
    owners_make_file(&f, "root/next");
    owners_await_shifted(&f, "root/next");
    owners_expect_untouched(&f, "outside");
    owners_expect_untouched(&f, "root/later");
    owners_expect_untouched(&f, "root/character");
    owners_expect_untouched(&f, "root/block");
    owners_done(&f);
}

static void test_other_mounts_are_left_alone(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "outside");
    owners_make_file(&f, "outside/file");
    owners_make_file(&f, "single");
    owners_make_dir(&f, "root/tmpfs");
    owners_make_dir(&f, "root/bound");
    owners_make_file(&f, "root/single");
    CLEANUP_FREE char *outside = owners_path(&f, "outside");
    CLEANUP_FREE char *single = owners_path(&f, "single");
    owners_mount(&f, "none", "root/tmpfs", 0);
    /* Of the same file system: only the mount differs. */
    owners_mount(&f, outside, "root/bound", MS_BIND);
    owners_mount(&f, single, "root/single", MS_BIND);
    owners_make_file(&f, "root/tmpfs/file");
    owners_start_and_wait(&f);
    owners_make_file(&f, "root/bound/later");
    CLEANUP_FREE char *path = owners_path(&f, "root/single");
    assert_int_equal(chmod(path, 0640), 0);
    owners_make_file(&f, "root/next");
    owners_await_shifted(&f, "root/next");
    owners_expect_idle(&f);
    owners_expect_untouched(&f, "root/tmpfs/file");
    owners_expect_untouched(&f, "root/tmpfs");
    owners_expect_untouched(&f, "root/bound/file");
    owners_expect_untouched(&f, "root/bound/later");
    owners_expect_untouched(&f, "root/bound");
    owners_expect_untouched(&f, "root/single");
    owners_unmount(&f, "root/tmpfs");
    owners_unmount(&f, "root/bound");
    owners_unmount(&f, "root/single");
    owners_done(&f);
}

/* Nomad's secrets are one, and Nomad unmounts it when the task has gone. */
static void test_file_system_that_is_followed_can_be_unmounted(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_mount(&f, "none", "root", 0);
    owners_make_dir(&f, "root/dir");
    owners_start_and_wait(&f);
    owners_make_file(&f, "root/dir/file");
    owners_await_shifted(&f, "root/dir/file");
    owners_unmount(&f, "root");
    owners_make_file(&f, "root/below");
    owners_expect_idle(&f);
    owners_expect_untouched(&f, "root/below");
    assert_int_equal(owners_n_watches(), 0);
    owners_done(&f);
}

/* --- failures --------------------------------------------------------------------------------- */

static void expect_refused(struct owners *f, const char *name, int error)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    CLEANUP_FAIL struct fail fail = {};
    struct ownership *ownership = NULL;

    assert_int_equal(owners_follow(f, path, OWNERS_BASE, &ownership, &fail), error);
    assert_null(ownership);
    assert_non_null(strstr(fail_text(&fail), path));
}

static void test_what_is_no_directory_is_refused_by_name(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_file(&f, "file");
    CLEANUP_FREE char *link = owners_path(&f, "link");
    assert_int_equal(symlink("root", link), 0);
    expect_refused(&f, "missing", -ENOENT);
    expect_refused(&f, "file", -ENOTDIR);
    expect_refused(&f, "link", -ENOTDIR);
    assert_int_equal(owners_n_watches(), 0);
    owners_make_dir(&f, "root/dir");
    CLEANUP_FREE char *through = owners_path(&f, "link/dir");
    assert_int_equal(owners_follow(&f, through, OWNERS_BASE, &f.ownership, NULL), 0);
    owners_await_shifted(&f, "root/dir");
    owners_expect_untouched(&f, "root");
    owners_done(&f);
}

static void test_base_that_is_none_is_refused(void **state)
{
    static const uid_t bases[] = { 0, 1, 65535, 65537, OWNERS_BASE + 1, 0xffff0000, UINT32_MAX };
    struct owners f;

    (void)state;
    owners_init(&f);
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        CLEANUP_FAIL struct fail fail = {};
        assert_int_equal(owners_follow(&f, f.root, bases[i], &f.ownership, &fail), -EINVAL);
        assert_int_equal(fail.error, -EINVAL);
    }
    owners_expect_untouched(&f, "root");
    owners_done(&f);
}

/* Answers false where the file system can't. */
static bool set_immutable(const struct owners *f, const char *name, bool is_immutable)
{
    CLEANUP_FREE char *path = owners_path(f, name);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    int flags = is_immutable ? FS_IMMUTABLE_FL : 0;

    assert_true(fd >= 0);
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static void test_failure_is_told_by_name_and_does_not_stop_the_rest(void **state)
{
    struct owners f;

    (void)state;
    owners_init(&f);
    owners_make_dir(&f, "root/a");
    owners_make_file(&f, "root/a/stubborn");
    owners_make_file(&f, "root/file");
    owners_make_dir(&f, "root/z");
    owners_make_file(&f, "root/z/file");
    if (!set_immutable(&f, "root/a/stubborn", true)) {
        owners_done(&f);
        print_message("no immutable files here, skipping\n");
        skip();
    }
    owners_start(&f);
    assert_true(event_run_until_set(f.event, &f.is_ready));
    assert_true(set_immutable(&f, "root/a/stubborn", false));
    assert_int_equal(f.fail.error, -EPERM);
    assert_non_null(strstr(fail_text(&f.fail), "/root/a/stubborn'"));
    assert_int_equal(f.n_ready, 1);
    owners_expect_shifted(&f, "root/a");
    owners_expect_shifted(&f, "root/file");
    owners_expect_shifted(&f, "root/z/file");
    owners_give(&f, "root/a/stubborn", 0, 0, 0640); /* another chance */
    owners_await_shifted(&f, "root/a/stubborn");
    owners_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_all_that_is_there_is_shifted),
        FD_LEAK_TEST(test_other_ranges_stay),
        FD_LEAK_TEST(test_set_user_bits_stay_where_all_is_the_containers),
        FD_LEAK_TEST(test_links_are_shifted_themselves_and_not_followed),
        FD_LEAK_TEST(test_directory_replaced_by_a_link_leads_nowhere),
        FD_LEAK_TEST(test_hard_links_and_devices_are_left_alone),
        FD_LEAK_TEST(test_other_mounts_are_left_alone),
        FD_LEAK_TEST(test_file_system_that_is_followed_can_be_unmounted),
        FD_LEAK_TEST(test_what_is_no_directory_is_refused_by_name),
        FD_LEAK_TEST(test_base_that_is_none_is_refused),
        FD_LEAK_TEST(test_failure_is_told_by_name_and_does_not_stop_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
