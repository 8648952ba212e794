/* Files that look like a cgroup's. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/cgroup.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir;
    int dir_fd;
};

static struct scene set_up(void)
{
    struct scene scene = { .dir = scratch_dir_new() };

    scene.dir_fd = open(scene.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(scene.dir_fd >= 0);
    return scene;
}

static void tear_down(struct scene *scene)
{
    close_fd(scene->dir_fd);
    scratch_dir_free(scene->dir);
}

/* --- numbers --------------------------------------------------------------------------------- */

static void expect_number(const struct scene *scene, const char *text, uint64_t expected)
{
    uint64_t number = 7;

    scratch_dir_write(scene->dir, "file", text);
    assert_int_equal(cgroup_read_number(scene->dir_fd, "file", &number), 0);
    assert_true(number == expected);
}

static void test_numbers_are_read(void **state)
{
    struct scene scene = set_up();

    (void)state;
    expect_number(&scene, "0\n", 0);
    expect_number(&scene, "4096\n", 4096);
    expect_number(&scene, "17", 17);
    expect_number(&scene, "18446744073709551615\n", UINT64_MAX);
    expect_number(&scene, "max\n", UINT64_MAX);
    tear_down(&scene);
}

static void test_what_is_no_number_is_told(void **state)
{
    static const char *const wrong[] = { "",    "\n",   "-1\n", "+1\n",  " 1\n", "1 \n", "x\n",
                                         "1x",  "max",  "0x1\n", "1.0\n", "maximum\n",
                                         "18446744073709551616\n", "99999999999999999999999\n" };
    struct scene scene = set_up();

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t number = 7;
        scratch_dir_write(scene.dir, "file", wrong[i]);
        if (cgroup_read_number(scene.dir_fd, "file", &number) != -EBADMSG)
            fail_msg("'%s' is taken for a number", wrong[i]);
        assert_true(number == 7);
    }
    tear_down(&scene);
}

static void test_missing_file_is_told(void **state)
{
    struct scene scene = set_up();
    uint64_t number = 7;

    (void)state;
    assert_int_equal(cgroup_read_number(scene.dir_fd, "file", &number), -ENOENT);
    assert_int_equal(cgroup_read_keys(scene.dir_fd, "file", NULL, 0), -ENOENT);
    assert_int_equal(cgroup_read_number(-EBADF, "file", &number), -EBADF);
    assert_true(number == 7);
    tear_down(&scene);
}

/* --- keys ------------------------------------------------------------------------------------ */

static int read_two(const struct scene *scene, const char *text, uint64_t *a, uint64_t *b)
{
    const struct cgroup_key keys[] = { { "usage_usec", a }, { "user_usec", b } };

    *a = *b = 7;
    scratch_dir_write(scene->dir, "file", text);
    return cgroup_read_keys(scene->dir_fd, "file", keys, 2);
}

static void test_keys_are_found_whole_in_any_order(void **state)
{
    struct scene scene = set_up();
    uint64_t a, b;

    (void)state;
    assert_int_equal(read_two(&scene, "usage_usec 1\nuser_usec 2\nsystem_usec 3\n", &a, &b), 3);
    assert_true(a == 1 && b == 2);
    assert_int_equal(read_two(&scene, "user_usec 2\nusage_usec 1", &a, &b), 3);
    assert_true(a == 1 && b == 2);
    assert_int_equal(read_two(&scene, "user_usec 2\n", &a, &b), 2);
    assert_true(a == 7 && b == 2);
    assert_int_equal(read_two(&scene, "usage 1\nusage_usecs 1\nuser_use 2\n xuser_usec 2\n", &a, &b),
                     0);
    assert_int_equal(read_two(&scene, "", &a, &b), 0);
    assert_int_equal(read_two(&scene, "\n\n \nusage_usec\nuser_usec\n", &a, &b), 0);
    assert_true(a == 7 && b == 7);
    tear_down(&scene);
}

static void test_key_without_a_number_is_told(void **state)
{
    struct scene scene = set_up();
    uint64_t a, b;

    (void)state;
    assert_int_equal(read_two(&scene, "usage_usec x\n", &a, &b), -EBADMSG);
    assert_int_equal(read_two(&scene, "user_usec 1\nusage_usec 1 2\n", &a, &b), -EBADMSG);
    assert_int_equal(read_two(&scene, "usage_usec \n", &a, &b), -EBADMSG);
    assert_int_equal(read_two(&scene, "usage_usec  1\n", &a, &b), -EBADMSG);
    assert_int_equal(read_two(&scene, "usage_usec max\n", &a, &b), -EBADMSG);
    /* What nobody asks for may be anything. */
    assert_int_equal(read_two(&scene, "other x\nusage_usec 1\n", &a, &b), 1);
    tear_down(&scene);
}

/* A number at the limit of what is read must not be taken for a smaller one. */
static void test_file_beyond_the_limit_has_no_cut_numbers(void **state)
{
    struct scene scene = set_up();

    (void)state;
    for (size_t n_fill = 8150; n_fill < 8200; n_fill++) {
        CLEANUP_FREE char *fill = alloc_zero(n_fill + 1, 1);
        uint64_t a, b;
        memset(fill, 'x', n_fill);
        fill[n_fill - 1] = '\n';
        CLEANUP_FREE char *text = alloc_printf("%susage_usec 123456789\n", fill);
        int r = read_two(&scene, text, &a, &b);
        assert_true((r == 1 && a == 123456789) || (r <= 0 && a == 7));
    }
    tear_down(&scene);
}

/* --- versions -------------------------------------------------------------------------------- */

static void test_every_version_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(cgroup_version_name(CGROUP_VERSION_NONE), "none");
    assert_string_equal(cgroup_version_name(CGROUP_VERSION_HYBRID), "hybrid");
    assert_string_equal(cgroup_version_name(CGROUP_VERSION_V2), "v2");
}

static void test_path_lies_where_the_host_has_its_tree(void **state)
{
    CLEANUP_FREE char *path = cgroup_path("/nspawn.slice");

    (void)state;
    switch (cgroup_version()) {
    case CGROUP_VERSION_V2:
        assert_string_equal(path, "/sys/fs/cgroup/nspawn.slice");
        break;
    case CGROUP_VERSION_HYBRID:
        assert_string_equal(path, "/sys/fs/cgroup/unified/nspawn.slice");
        break;
    default:
        assert_null(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_numbers_are_read),
        FD_LEAK_TEST(test_what_is_no_number_is_told),
        FD_LEAK_TEST(test_missing_file_is_told),
        FD_LEAK_TEST(test_keys_are_found_whole_in_any_order),
        FD_LEAK_TEST(test_key_without_a_number_is_told),
        FD_LEAK_TEST(test_file_beyond_the_limit_has_no_cut_numbers),
        FD_LEAK_TEST(test_every_version_has_a_name),
        FD_LEAK_TEST(test_path_lies_where_the_host_has_its_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
