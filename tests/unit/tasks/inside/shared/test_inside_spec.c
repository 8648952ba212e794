#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_spec.h"
#include "tests/support/fd_leak.h"

static void fill(struct inside_spec *spec)
{
    spec->is_pid1 = true;
    spec->user = strdup("worker");
    spec->directory = strdup("/srv");
    strv_push(&spec->argv, "/bin/sh");
    strv_push(&spec->argv, "-c");
    strv_push(&spec->argv, "");
    strv_push(&spec->environment, "LINES=one\ntwo\r\n\"three\" 'four'\\");
    strv_push(&spec->environment, "BYTES=\xff\x01");
    strv_push(&spec->environment, "EMPTY=");
}

static void assert_strv_equal(const struct strv *a, const struct strv *b)
{
    assert_int_equal(a->n_items, b->n_items);
    for (size_t i = 0; i < a->n_items; i++)
        assert_string_equal(a->items[i], b->items[i]);
}

static void assert_same(const struct inside_spec *a, const struct inside_spec *b)
{
    assert_int_equal(a->is_pid1, b->is_pid1);
    assert_string_equal(a->user, b->user);
    assert_string_equal(a->directory, b->directory);
    assert_strv_equal(&a->argv, &b->argv);
    assert_strv_equal(&a->environment, &b->environment);
}

static void assert_empty(const struct inside_spec *spec)
{
    const struct inside_spec empty = {};

    assert_memory_equal(spec, &empty, sizeof(empty));
}

static void test_all_of_it_comes_back(void **state)
{
    CLEANUP(inside_spec_done) struct inside_spec spec = {}, again;
    CLEANUP_FREE uint8_t *bytes = NULL;
    size_t n;

    (void)state;
    fill(&spec);
    inside_spec_encode(&spec, &bytes, &n);
    assert_int_equal(inside_spec_decode(&again, bytes, n), 0);
    assert_same(&spec, &again);
}

static void test_an_empty_one_comes_back_empty(void **state)
{
    const struct inside_spec spec = {};
    struct inside_spec again;
    CLEANUP_FREE uint8_t *bytes = NULL;
    size_t n;

    (void)state;
    inside_spec_encode(&spec, &bytes, &n);
    assert_int_equal(inside_spec_decode(&again, bytes, n), 0);
    assert_empty(&again);
}

static void test_one_that_is_cut_anywhere_is_refused(void **state)
{
    CLEANUP(inside_spec_done) struct inside_spec spec = {};
    struct inside_spec again;
    CLEANUP_FREE uint8_t *bytes = NULL;
    size_t n;

    (void)state;
    fill(&spec);
    inside_spec_encode(&spec, &bytes, &n);
    for (size_t i = 0; i < n; i++) {
        /* Of its own size, so that a reader that goes beyond it is caught. */
        CLEANUP_FREE uint8_t *cut = alloc_memdup(bytes, i);
        assert_int_equal(inside_spec_decode(&again, cut, i), -EBADMSG);
        assert_empty(&again);
    }
}

static void test_one_with_a_byte_too_many_is_refused(void **state)
{
    const struct inside_spec spec = {};
    struct inside_spec again;
    CLEANUP_FREE uint8_t *bytes = NULL;
    uint8_t longer[64] = {};
    size_t n;

    (void)state;
    inside_spec_encode(&spec, &bytes, &n);
    assert_in_range(n, 1, sizeof(longer) - 1);
    memcpy(longer, bytes, n);
    assert_int_equal(inside_spec_decode(&again, longer, n + 1), -EBADMSG);
    longer[0] ^= 1;
    assert_int_equal(inside_spec_decode(&again, longer, n), -EBADMSG);
}

static void test_a_file_is_read_from_its_beginning(void **state)
{
    CLEANUP(inside_spec_done) struct inside_spec spec = {}, again;
    CLEANUP_FREE uint8_t *bytes = NULL;
    CLEANUP_CLOSE int fd = memfd_create("spec", MFD_CLOEXEC);
    size_t n;

    (void)state;
    fill(&spec);
    inside_spec_encode(&spec, &bytes, &n);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(inside_spec_read(&again, fd), 0);
    assert_same(&spec, &again);
}

static void test_a_file_that_is_too_large_is_not_read(void **state)
{
    struct inside_spec spec;
    CLEANUP_CLOSE int fd = memfd_create("spec", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(ftruncate(fd, (off_t)INSIDE_SPEC_BYTES_MAX + 1), 0);
    assert_int_equal(inside_spec_read(&spec, fd), -EFBIG);
    assert_empty(&spec);
    assert_int_equal(inside_spec_read(&spec, -EBADF), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_all_of_it_comes_back),
        FD_LEAK_TEST(test_an_empty_one_comes_back_empty),
        FD_LEAK_TEST(test_one_that_is_cut_anywhere_is_refused),
        FD_LEAK_TEST(test_one_with_a_byte_too_many_is_refused),
        FD_LEAK_TEST(test_a_file_is_read_from_its_beginning),
        FD_LEAK_TEST(test_a_file_that_is_too_large_is_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
