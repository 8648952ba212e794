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

#include "logs/tail.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tests/support/fd_leak.h"

/* --- the line -------------------------------------------------------------------------------- */

static const struct {
    const char *what, *text, *line;
} lines[] = {
    { "nothing", "", NULL },
    { "blank lines only", "\n \n\t\r\n\n", NULL },
    { "one line", "execv failed\n", "execv failed" },
    { "no line end", "first\nsecond", "second" },
    { "blank lines after it", "first\nsecond\n\n \r\n", "second" },
    { "CRLF", "first\r\nsecond\r\n", "second" },
    { "overwritten by CR", "10%\r20%\r30%", "30%" },
    { "blanks around", "  padded\t \n", "padded" },
    { "tab inside", "a\tb\n", "a b" },
    { "colours", "\x1b[0;1;31mFailed\x1b[0m to start\x1b[K\n", "Failed to start" },
    { "a line of sequences only", "real\n\x1b[0m\x1b[2J\n", "real" },
    { "a cut sequence", "text\x1b[0;1", "text" },
    { "a lone escape", "text\x1b", "text" },
    { "control characters", "a\x01\x07\x7f\bb\n", "ab" },
    { "C1 control characters", "a\xc2\x85\xc2\x9b" "b\n", "ab" },
    { "U+00A0 and above stay", "\xc2\xa9 \xe2\x82\xac\n", "\xc2\xa9 \xe2\x82\xac" },
    { "ill-formed bytes", "a\xff" "b\n", "a\xef\xbf\xbd" "b" },
    { "a cut character", "ab\xe2\x82", "ab\xef\xbf\xbd\xef\xbf\xbd" },
};

static void test_last_line_is_what_a_person_would_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CLEANUP_FREE char *line = tail_last_line(lines[i].text, strlen(lines[i].text), NULL);
        if (lines[i].line == NULL ? line != NULL : line == NULL || strcmp(line, lines[i].line) != 0)
            fail_msg("%s: got '%s'", lines[i].what, line != NULL ? line : "(none)");
    }
}

static bool is_echo(const char *line)
{
    return strcmp(line, "echo") == 0;
}

static void test_lines_to_be_skipped_are_passed_over(void **state)
{
    (void)state;
    CLEANUP_FREE char *line = tail_last_line("cause\necho\n\necho\n", 17, is_echo);
    assert_string_equal(line, "cause");
    assert_null(tail_last_line("echo\necho", 9, is_echo));
}

static void test_last_line_may_hold_nul_bytes(void **state)
{
    (void)state;
    CLEANUP_FREE char *line = tail_last_line("x\na\0b\0\n", 7, NULL);
    assert_string_equal(line, "ab");
}

static void test_last_line_is_cut_between_characters(void **state)
{
    char text[3 * TAIL_LINE_MAX];

    (void)state;
    for (size_t n_before = 0; n_before < 4; n_before++) {
        memset(text, 'x', n_before);
        for (size_t i = n_before; i + 3 <= sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        CLEANUP_FREE char *line = tail_last_line(text, n_before + 3 * TAIL_LINE_MAX / 3 * 2, NULL);
        assert_true(utf8_is_valid(line, strlen(line)));
        assert_in_range(strlen(line), TAIL_LINE_MAX - 2, TAIL_LINE_MAX);
    }
}

static void test_last_line_of_text_cut_anywhere_is_valid(void **state)
{
    static const char text[] = "one\r\n\x1b[31mt\xc3\xa9w\xe2\x82\xacx\x1b[0m\n\xf0\x9f\x98\x80 end\n";

    (void)state;
    for (size_t from = 0; from < sizeof(text); from++) {
        for (size_t n = 0; from + n < sizeof(text); n++) {
            CLEANUP_FREE char *copy = n > 0 ? alloc_memdup(text + from, n) : NULL;
            CLEANUP_FREE char *line = tail_last_line(copy, n, NULL);
            assert_true(line == NULL || (line[0] != '\0' && utf8_is_valid(line, strlen(line))));
        }
    }
}

/* --- what goes by ---------------------------------------------------------------------------- */

struct fixture {
    int pipe[2];
    struct tail *tail;
};

static void set_up(struct fixture *fixture)
{
    assert_int_equal(pipe2(fixture->pipe, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(tail_new(&fixture->tail), 0);
}

static void tear_down(struct fixture *fixture)
{
    fixture->tail = tail_free(fixture->tail);
    close_fd(fixture->pipe[0]);
    close_fd(fixture->pipe[1]);
}

static void put(struct fixture *fixture, const char *text)
{
    assert_int_equal(write(fixture->pipe[1], text, strlen(text)), strlen(text));
}

/* As the pump does: doubles, moves at most `n_max`, keeps what was moved. */
static size_t take(struct fixture *fixture, size_t n_max)
{
    static char moved[TAIL_OUTPUT_MAX];

    ssize_t n_doubled = tail_double(fixture->tail, fixture->pipe[0], sizeof(moved));
    if (n_doubled == -EAGAIN)
        return 0;
    assert_true(n_doubled > 0);
    ssize_t n = read(fixture->pipe[0], moved, (size_t)n_doubled < n_max ? (size_t)n_doubled : n_max);
    tail_keep(fixture->tail, n > 0 ? (size_t)n : 0);
    return n > 0 ? (size_t)n : 0;
}

static void assert_line(struct fixture *fixture, const char *expected)
{
    CLEANUP_FREE char *line = tail_line(fixture->tail, fixture->pipe[0], NULL);

    assert_non_null(line);
    assert_string_equal(line, expected);
}

static void test_nothing_moved_has_no_line(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture);
    assert_int_equal(take(&fixture, 1), 0);
    assert_null(tail_line(fixture.tail, fixture.pipe[0], NULL));
    tear_down(&fixture);
}

static void test_piece_that_is_moved_in_part_is_kept_once(void **state)
{
    struct fixture fixture;

    (void)state;
    for (size_t n_max = 1; n_max <= 12; n_max++) {
        set_up(&fixture);
        put(&fixture, "0123456789AB");
        while (take(&fixture, n_max) > 0)
            ;
        assert_line(&fixture, "0123456789AB");
        tear_down(&fixture);
    }
}

static void test_piece_that_is_not_moved_is_not_kept(void **state)
{
    struct fixture fixture;
    char byte[16];

    (void)state;
    set_up(&fixture);
    put(&fixture, "never moved");
    assert_int_equal(take(&fixture, 0), 0);
    assert_int_equal(read(fixture.pipe[0], byte, sizeof(byte)), strlen("never moved"));
    assert_null(tail_line(fixture.tail, fixture.pipe[0], NULL));
    tear_down(&fixture);
}

static void test_line_counts_what_is_unread_and_leaves_it(void **state)
{
    struct fixture fixture;

    (void)state;
    set_up(&fixture);
    put(&fixture, "moved\nbegin");
    assert_int_equal(take(&fixture, 100), 11);
    put(&fixture, "ning and end");
    assert_line(&fixture, "beginning and end");
    assert_line(&fixture, "beginning and end");
    assert_int_equal(take(&fixture, 100), 12);
    assert_line(&fixture, "beginning and end");
    tear_down(&fixture);
}

static void test_only_the_end_is_kept_until_it_is_over(void **state)
{
    struct fixture fixture;
    char text[64];
    size_t n_taken = 0;

    (void)state;
    set_up(&fixture);
    for (unsigned i = 0; n_taken < TAIL_OUTPUT_MAX; i++) {
        assert_false(tail_is_over(fixture.tail));
        (void)snprintf(text, sizeof(text), "line %u of a very talkative program", i);
        put(&fixture, text);
        put(&fixture, "\n");
        n_taken += take(&fixture, sizeof(text));
        assert_line(&fixture, text);
    }
    assert_true(tail_is_over(fixture.tail));
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_last_line_is_what_a_person_would_read),
        FD_LEAK_TEST(test_lines_to_be_skipped_are_passed_over),
        FD_LEAK_TEST(test_last_line_may_hold_nul_bytes),
        FD_LEAK_TEST(test_last_line_is_cut_between_characters),
        FD_LEAK_TEST(test_last_line_of_text_cut_anywhere_is_valid),
        FD_LEAK_TEST(test_nothing_moved_has_no_line),
        FD_LEAK_TEST(test_piece_that_is_moved_in_part_is_kept_once),
        FD_LEAK_TEST(test_piece_that_is_not_moved_is_not_kept),
        FD_LEAK_TEST(test_line_counts_what_is_unread_and_leaves_it),
        FD_LEAK_TEST(test_only_the_end_is_kept_until_it_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
