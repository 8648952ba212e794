/* Made in images that are real directories, some of which mean harm. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tasks/mounts/mount_points.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/private_run.h"
#include "tests/support/scratch_dir.h"

/* <dir>/image with /usr, /outside beside it, and the sources <dir>/source and <dir>/file. */
struct scene {
    char *dir, *image, *source, *file;
    struct binds binds;
};

static void make_dir(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const struct scene *scene, const char *text, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    assert_int_equal(symlink(text, path), 0);
}

static struct scene set_up(void)
{
    static const char *const directories[] = { "image", "image/usr", "outside", "source" };
    CLEANUP_FREE char *dir = scratch_dir_new();
    struct scene scene = { .dir = realpath(dir, NULL) };

    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        make_dir(&scene, directories[i]);
    scratch_dir_write(scene.dir, "file", "");
    scene.image = scratch_dir_path(scene.dir, "image");
    scene.source = scratch_dir_path(scene.dir, "source");
    scene.file = scratch_dir_path(scene.dir, "file");
    return scene;
}

static void tear_down(struct scene *scene)
{
    binds_done(&scene->binds);
    free(scene->image);
    free(scene->source);
    free(scene->file);
    scratch_dir_free(scene->dir);
}

static void bind_source(struct scene *scene, const char *source, const char *target)
{
    assert_int_equal(binds_add(&scene->binds, BIND_OWNER_JOB, source, target, (struct bind_how){},
                               NULL),
                     1);
}

static void bind_dir(struct scene *scene, const char *target)
{
    bind_source(scene, scene->source, target);
}

static void make(const struct scene *scene)
{
    CLEANUP_FAIL struct fail fail = {};

    if (mount_points_make(scene->image, &scene->binds, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
}

static struct stat look(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->image, name);
    struct stat st;

    if (lstat(path, &st) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return st;
}

static void expect_mode(const struct scene *scene, const char *name, mode_t mode)
{
    mode_t is = look(scene, name).st_mode;

    if (is != mode)
        fail_msg("%s: mode %o, expected %o", name, is, mode);
}

static void expect_dir(const struct scene *scene, const char *name)
{
    expect_mode(scene, name, S_IFDIR | 0755);
}

static void expect_none(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->image, name);

    if (access(path, F_OK) == 0)
        fail_msg("%s is there", path);
    assert_int_equal(errno, ENOENT);
}

static unsigned n_entries;

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)st, (void)type, (void)at;
    n_entries++;
    return 0;
}

/* Of a tree, itself included. */
static unsigned count(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(scene->dir, name);

    n_entries = 0;
    assert_int_equal(nftw(path, on_entry, 16, FTW_PHYS), 0);
    return n_entries;
}

/* --- what is made ----------------------------------------------------------------------------- */

static void test_missing_ones_are_made(void **state)
{
    struct scene scene = set_up();
    mode_t before = umask(077);

    (void)state;
    bind_dir(&scene, "/alloc");
    bind_dir(&scene, "//mnt/.///deep/down//");
    bind_source(&scene, scene.file, "/etc/app/config");
    bind_source(&scene, "/dev/null", "/opt/device");
    make(&scene);
    (void)umask(before);
    expect_dir(&scene, "alloc");
    expect_dir(&scene, "mnt");
    expect_dir(&scene, "mnt/deep/down");
    expect_dir(&scene, "etc/app");
    expect_mode(&scene, "etc/app/config", S_IFREG | 0644);
    expect_mode(&scene, "opt/device", S_IFREG | 0644);
    assert_int_equal(look(&scene, "etc/app/config").st_size, 0);
    tear_down(&scene);
}

static void test_names_may_be_anything(void **state)
{
    static const char *const names[] = { "/line\nbreak", "/not\xffutf8/\xc3", "/a:b\\c,d", "/-rf *",
                                         "/...", "/%s%n" };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        bind_dir(&scene, names[i]);
    make(&scene);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_dir(&scene, names[i]);
    tear_down(&scene);
}

static void test_nspawn_s_own_are_made_and_nothing_below_them(void **state)
{
    static const char *const names[] = { "dev", "proc", "run", "sys", "tmp" };
    struct scene scene = set_up();

    (void)state;
    bind_dir(&scene, "/run/secrets");
    bind_dir(&scene, "/tmp/a/b");
    bind_source(&scene, "/dev/null", "/dev/fuse");
    bind_dir(&scene, "/usr");
    make(&scene);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_dir(&scene, names[i]);
    assert_int_equal(count(&scene, "image"), 1 + 1 + 5);
    tear_down(&scene);
}

/* They appear in what is mounted on the other. */
static void test_nothing_is_made_below_another(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_dir(&scene, "image/var");
    make_dir(&scene, "image/var/data");
    make_dir(&scene, "image/run");
    make_link(&scene, "/var/data", "image/data");
    make_link(&scene, "../run", "image/var/run");
    bind_dir(&scene, "/alloc/logs");
    bind_dir(&scene, "//alloc");
    bind_dir(&scene, "/data/by/link");
    bind_dir(&scene, "/var/data");
    bind_dir(&scene, "/var/data/by/itself");
    bind_source(&scene, scene.file, "/var/run/app.socket");
    bind_dir(&scene, "/alloc-not");
    make(&scene);
    expect_dir(&scene, "alloc");
    expect_dir(&scene, "alloc-not");
    assert_int_equal(count(&scene, "image/alloc"), 1);
    assert_int_equal(count(&scene, "image/var/data"), 1);
    assert_int_equal(count(&scene, "image/run"), 1);
    tear_down(&scene);
}

static void test_owner_is_that_of_the_image(void **state)
{
    static const char *const names[] = { "mnt", "mnt/dir", "mnt/file", "tmp" };
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(chown(scene.image, 524288, 524289), 0);
    bind_dir(&scene, "/mnt/dir");
    bind_source(&scene, scene.file, "/mnt/file");
    make(&scene);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st = look(&scene, names[i]);
        assert_int_equal(st.st_uid, 524288);
        assert_int_equal(st.st_gid, 524289);
    }
    assert_int_equal(look(&scene, "usr").st_uid, 0);
    tear_down(&scene);
}

static void test_what_is_there_stays_as_it_is(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_dir(&scene, "image/alloc");
    scratch_dir_write(scene.dir, "image/note", "text");
    bind_dir(&scene, "/alloc");
    bind_dir(&scene, "/note");
    bind_dir(&scene, "/");
    bind_source(&scene, scene.file, "/alloc/../alloc");
    bind_source(&scene, scene.file, "/alloc/..");
    make(&scene);
    make(&scene);
    expect_mode(&scene, "alloc", S_IFDIR | 0700);
    expect_mode(&scene, "note", S_IFREG | 0600);
    assert_int_equal(look(&scene, "note").st_size, 4);
    assert_int_equal(count(&scene, "image"), 1 + 1 + 5 + 2);
    tear_down(&scene);
}

static void test_nothing_is_made_for_a_source_that_is_missing(void **state)
{
    struct scene scene = set_up();

    (void)state;
    bind_source(&scene, "/nowhere/at/all", "/mnt");
    make(&scene);
    expect_none(&scene, "mnt");
    tear_down(&scene);
}

static void test_what_is_no_tree_is_left_alone(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *usr = scratch_dir_path(scene.image, "usr");

    (void)state;
    assert_int_equal(rmdir(usr), 0);
    bind_dir(&scene, "/alloc");
    make(&scene);
    assert_int_equal(count(&scene, "image"), 1);
    tear_down(&scene);
}

static void test_depth_has_an_end(void **state)
{
    struct scene scene = set_up();
    CLEANUP(strv_done) struct strv deep = {};

    (void)state;
    strv_push(&deep, "");
    for (unsigned i = 0; i < MOUNT_POINTS_DEPTH_MAX; i++)
        strv_push(&deep, "d");
    CLEANUP_FREE char *path = strv_join(&deep, "/");
    CLEANUP_FREE char *deeper = alloc_printf("/e%s", path);
    bind_dir(&scene, path);
    bind_dir(&scene, deeper);
    make(&scene);
    expect_dir(&scene, path + 1);
    expect_none(&scene, "e");
    tear_down(&scene);
}

/* --- links ------------------------------------------------------------------------------------ */

/* Each is the image's /alloc; what lies outside of the image stays empty. */
static void test_links_never_lead_outside(void **state)
{
    static const char *const links[] = {
        "/",          "../outside",          "../../../../../../../outside",
        "/outside",   "/../outside",         "/proc/self/root/outside",
        "/dev/fd/0",  "usr/../../outside",   "/alloc",
        "outside",    "/tmp/../../outside",  "//",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct scene scene = set_up();
        CLEANUP_FREE char *absolute = scratch_dir_path(scene.dir, "outside");

        make_link(&scene, links[i], "image/alloc");
        make_link(&scene, absolute, "image/absolute");
        make_dir(&scene, "image/proc");
        bind_dir(&scene, "/alloc");
        bind_dir(&scene, "/alloc/x");
        bind_dir(&scene, "/alloc/../x/../../outside/y");
        bind_source(&scene, scene.file, "/alloc/file");
        bind_source(&scene, scene.file, "/absolute/file");
        bind_dir(&scene, "/absolute/z");
        (void)mount_points_make(scene.image, &scene.binds, NULL);
        assert_int_equal(count(&scene, "outside"), 1);
        /* The image itself, and so nothing new beside it. */
        assert_int_equal(count(&scene, "."), 1 + 3 + count(&scene, "image"));
        tear_down(&scene);
    }
}

static void test_links_lead_where_they_lead_inside(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_dir(&scene, "image/srv");
    make_link(&scene, "/srv", "image/absolute");
    make_link(&scene, "../../../srv", "image/relative");
    bind_dir(&scene, "/absolute/a");
    bind_dir(&scene, "/relative/b");
    make(&scene);
    expect_dir(&scene, "srv/a");
    expect_dir(&scene, "srv/b");
    tear_down(&scene);
}

/* nspawn makes them where it can. */
static void test_links_that_lead_nowhere_are_left(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_link(&scene, "/nowhere", "image/alloc");
    bind_dir(&scene, "/alloc");
    bind_dir(&scene, "/alloc/logs");
    bind_source(&scene, scene.file, "/alloc/../alloc");
    make(&scene);
    expect_none(&scene, "nowhere");
    assert_true(S_ISLNK(look(&scene, "alloc").st_mode));
    tear_down(&scene);
}

static void test_links_of_the_kernel_are_refused(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FREE char *proc = scratch_dir_path(scene.dir, "image/proc");
    CLEANUP_CLOSE int outside_fd = -EBADF;
    CLEANUP_FREE char *outside = scratch_dir_path(scene.dir, "outside");
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    outside_fd = open(outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FREE char *link = alloc_printf("/proc/self/fd/%d", outside_fd);
    make_dir(&scene, "image/proc");
    make_link(&scene, link, "image/escape");
    assert_int_equal(mount("proc", proc, "proc", 0, NULL), 0);
    bind_dir(&scene, "/escape/x");
    CLEANUP_FREE char *text = alloc_printf("cannot make the mount point '/escape/x' in the image "
                                           "'%s': Too many levels of symbolic links",
                                           scene.image);
    expect_fail(mount_points_make(scene.image, &scene.binds, &fail), &fail, -ELOOP, text);
    assert_int_equal(umount(proc), 0);
    assert_int_equal(count(&scene, "outside"), 1);
    tear_down(&scene);
}

/* --- failures --------------------------------------------------------------------------------- */

static void test_file_in_the_way_is_told(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *text = alloc_printf("cannot make the mount point '/note/x' in the image "
                                           "'%s': Not a directory",
                                           scene.image);

    (void)state;
    scratch_dir_write(scene.dir, "image/note", "");
    bind_dir(&scene, "/note/x");
    expect_fail(mount_points_make(scene.image, &scene.binds, &fail), &fail, -ENOTDIR, text);
    tear_down(&scene);
}

static void test_full_file_system_is_told(void **state)
{
    struct scene scene = set_up();
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *usr = scratch_dir_path(scene.image, "usr");

    (void)state;
    assert_int_equal(mount("tmpfs", scene.image, "tmpfs", 0, "nr_inodes=8"), 0);
    assert_int_equal(mkdir(usr, 0755), 0);
    bind_dir(&scene, "/alloc");
    bind_dir(&scene, "/local");
    bind_dir(&scene, "/secrets");
    expect_fail_with(mount_points_make(scene.image, &scene.binds, &fail), &fail, -ENOSPC,
                     "No space left on device");
    assert_int_equal(umount(scene.image), 0);
    tear_down(&scene);
}

static void test_read_only_file_system_is_nspawn_s_to_judge(void **state)
{
    struct scene scene = set_up();

    (void)state;
    assert_int_equal(mount(scene.image, scene.image, NULL, MS_BIND, NULL), 0);
    assert_int_equal(mount(NULL, scene.image, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    bind_dir(&scene, "/alloc");
    bind_dir(&scene, "/alloc/logs");
    bind_source(&scene, scene.file, "/etc/file");
    bind_dir(&scene, "/usr");
    make(&scene);
    assert_int_equal(count(&scene, "image"), 2);
    assert_int_equal(umount(scene.image), 0);
    tear_down(&scene);
}

static void test_image_that_is_gone_is_told(void **state)
{
    const struct binds binds = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail(mount_points_make("/nowhere/at/all", &binds, &fail), &fail, -ENOENT,
                "cannot open the image '/nowhere/at/all': No such file or directory");
    expect_fail(mount_points_make("/dev/null", &binds, &fail), &fail, -ENOTDIR,
                "cannot open the image '/dev/null': Not a directory");
}

/* --- races ------------------------------------------------------------------------------------ */

/* A child that does nothing but let two names in <dir> change places. */
static pid_t start_swapping(const struct scene *scene, const char *a, const char *b)
{
    pid_t parent = getpid(), pid = fork();

    assert_int_not_equal(pid, -1);
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(scene->dir) < 0)
        _exit(EXIT_FAILURE);
    while (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0)
        ;
    _exit(EXIT_FAILURE);
}

static void stop_swapping(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* As a container could that runs from the image by now: /data is a directory, then a link to the
 * outside, and so on. */
static void test_swapped_directory_leads_nowhere(void **state)
{
    struct scene scene = set_up();
    unsigned n_made = 0;

    (void)state;
    make_dir(&scene, "image/data");
    make_link(&scene, "../outside", "image/link");
    bind_dir(&scene, "/data/x/y");
    pid_t pid = start_swapping(&scene, "image/data", "image/link");
    for (unsigned i = 0; i < 5000; i++)
        n_made += mount_points_make(scene.image, &scene.binds, NULL) == 0;
    stop_swapping(pid);
    assert_int_not_equal(n_made, 0);
    assert_int_equal(count(&scene, "outside"), 1);
    tear_down(&scene);
}

/* Renames elsewhere make the kernel give up on ".." in the middle. */
static void test_renames_elsewhere_do_not_disturb(void **state)
{
    struct scene scene = set_up();

    (void)state;
    make_dir(&scene, "image/var");
    make_dir(&scene, "image/srv");
    make_dir(&scene, "outside/a");
    make_dir(&scene, "outside/b");
    make_link(&scene, "../srv", "image/var/srv");
    bind_dir(&scene, "/var/srv/../srv/../srv/../srv/x");
    pid_t pid = start_swapping(&scene, "outside/a", "outside/b");
    for (unsigned i = 0; i < 5000; i++)
        make(&scene);
    stop_swapping(pid);
    tear_down(&scene);
}

/* The scratch directories lie in a /run of this process's own; nothing else can be written to,
 * should a change open the border that these tests guard. */
static int enter(void **state)
{
    int r = private_run_or_skip(state);

    if (r < 0 || setenv("TMPDIR", "/run", 1) < 0)
        return -1;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
}

/* Who counts the lines that were run writes beside the objects. */
static int leave(void **state)
{
    (void)state;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_missing_ones_are_made),
        FD_LEAK_TEST(test_names_may_be_anything),
        FD_LEAK_TEST(test_nspawn_s_own_are_made_and_nothing_below_them),
        FD_LEAK_TEST(test_nothing_is_made_below_another),
        FD_LEAK_TEST(test_owner_is_that_of_the_image),
        FD_LEAK_TEST(test_what_is_there_stays_as_it_is),
        FD_LEAK_TEST(test_nothing_is_made_for_a_source_that_is_missing),
        FD_LEAK_TEST(test_what_is_no_tree_is_left_alone),
        FD_LEAK_TEST(test_depth_has_an_end),
        FD_LEAK_TEST(test_links_never_lead_outside),
        FD_LEAK_TEST(test_links_lead_where_they_lead_inside),
        FD_LEAK_TEST(test_links_that_lead_nowhere_are_left),
        FD_LEAK_TEST(test_links_of_the_kernel_are_refused),
        FD_LEAK_TEST(test_file_in_the_way_is_told),
        FD_LEAK_TEST(test_full_file_system_is_told),
        FD_LEAK_TEST(test_read_only_file_system_is_nspawn_s_to_judge),
        FD_LEAK_TEST(test_image_that_is_gone_is_told),
        FD_LEAK_TEST(test_swapped_directory_leads_nowhere),
        FD_LEAK_TEST(test_renames_elsewhere_do_not_disturb),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
