/* Records are read back from a pipe that takes the place of standard error. */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "reactor/utf8.h"
#include "tests/support/fd_leak.h"

struct captured {
    int saved_fd, read_fd;
    char text[3 * LOG_RECORD_MAX];
};

static void capture(struct captured *captured)
{
    int fds[2];

    captured->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(captured->saved_fd >= 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    (void)close(fds[1]);
    captured->read_fd = fds[0];
}

static void put_back(struct captured *captured)
{
    (void)dup2(captured->saved_fd, STDERR_FILENO);
    captured->saved_fd = close_fd(captured->saved_fd);
    captured->read_fd = close_fd(captured->read_fd);
}

/* Puts standard error back first, so that the pipe ends and a failed assertion can be read. */
static const char *release(struct captured *captured)
{
    size_t n_bytes = 0;
    ssize_t n;

    (void)dup2(captured->saved_fd, STDERR_FILENO);
    while ((n = read(captured->read_fd, captured->text + n_bytes,
                     sizeof(captured->text) - 1 - n_bytes)) > 0)
        n_bytes += (size_t)n;
    put_back(captured);
    captured->text[n_bytes] = '\0';
    return captured->text;
}

/* What a record says behind its timestamp, which is taken out and must look like one. */
static char *without_timestamp(const char *record)
{
    static const char key[] = "\"@timestamp\":\"", form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ\",";
    const char *at = strstr(record, key);

    assert_non_null(at);
    for (size_t i = 0; form[i] != '\0'; i++) {
        char c = at[sizeof(key) - 1 + i];
        assert_true(form[i] == 'd' ? c >= '0' && c <= '9' : c == form[i]);
    }
    return alloc_printf("%.*s%s", (int)(at - record), record, at + sizeof(key) + sizeof(form) - 2);
}

static void expect_record(const char *record, const char *expected)
{
    CLEANUP_FREE char *text = without_timestamp(record);

    assert_string_equal(text, expected);
}

static void test_record_is_a_line_of_json(void **state)
{
    struct captured captured;

    (void)state;
    capture(&captured);
    log_info("%s is %d", "this", 7);
    expect_record(release(&captured), "{\"@level\":\"info\",\"@message\":\"this is 7\"}\n");
}

static void test_task_and_level_are_told(void **state)
{
    static const char *const names[] = { "trace", "debug", "info", "warn", "error" };

    (void)state;
    for (enum log_level level = 0; level < LOG_LEVEL_MAX; level++) {
        struct captured captured;
        CLEANUP_FREE char *expected = alloc_printf(
                "{\"@level\":\"%s\",\"task_id\":\"a/b\",\"@message\":\"x\"}\n", names[level]);
        capture(&captured);
        log_write(level, "a/b", "x");
        expect_record(release(&captured), expected);
    }
}

static void test_text_is_escaped(void **state)
{
    struct captured captured;

    (void)state;
    capture(&captured);
    log_task_warn("\"\\", "%s", "q\" b\\ n\n t\t c\x01 d\x7f \xc3\xa4 \xf0\x9f\x98\x80");
    expect_record(release(&captured),
                  "{\"@level\":\"warn\",\"task_id\":\"\\\"\\\\\",\"@message\":\"q\\\" b\\\\ n\\n "
                  "t\\u0009 c\\u0001 d\\u007f \xc3\xa4 \xf0\x9f\x98\x80\"}\n");
}

static void test_what_is_not_utf8_is_replaced(void **state)
{
    struct captured captured;

    (void)state;
    capture(&captured);
    log_error("%s", "a\xff\xe2\x82");
    expect_record(release(&captured), "{\"@level\":\"error\",\"@message\":\"a\xef\xbf\xbd"
                                      "\xef\xbf\xbd\xef\xbf\xbd\"}\n");
}

static void test_records_below_the_level_are_not_written(void **state)
{
    struct captured captured;

    (void)state;
    capture(&captured);
    log_set_level(LOG_LEVEL_WARN);
    log_info("unheard");
    log_warn("heard");
    log_set_level(LOG_LEVEL_TRACE);
    expect_record(release(&captured), "{\"@level\":\"warn\",\"@message\":\"heard\"}\n");
}

/* --- cutting --------------------------------------------------------------------------------- */

static char *repeat(const char *text, size_t n_bytes)
{
    char *repeated = alloc_zero(n_bytes + strlen(text) + 1, 1), *end = repeated;

    while ((size_t)(end - repeated) < n_bytes)
        end = stpcpy(end, text);
    return repeated;
}

/* One line, whole JSON strings, whole UTF-8, and the text is the beginning of what was said. */
static void expect_cut(const char *record, const char *text)
{
    size_t n = strlen(record);
    CLEANUP_FREE char *rest = without_timestamp(record);
    static const char head[] = "{\"@level\":\"info\",\"@message\":\"", tail[] = "\"}\n";

    assert_true(n <= LOG_RECORD_MAX);
    assert_true(utf8_is_valid(record, n));
    assert_ptr_equal(strchr(record, '\n'), record + n - 1);
    n = strlen(rest);
    assert_memory_equal(rest, head, sizeof(head) - 1);
    assert_string_equal(rest + n - (sizeof(tail) - 1), tail);
    size_t n_text = n - (sizeof(head) - 1) - (sizeof(tail) - 1);
    assert_true(n_text > LOG_RECORD_MAX - 200);
    assert_memory_equal(rest + sizeof(head) - 1, text, n_text);
}

static void test_long_record_is_cut_between_characters(void **state)
{
    static const char *const pieces[] = { "a", "\xc3\xa4", "\xe2\x82\xacz",
                                          "\xf0\x9f\x98\x80", "aa\xf0\x9f\x98\x80" };

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        for (size_t shift = 0; shift < 8; shift++) {
            struct captured captured;
            CLEANUP_FREE char *piece = repeat(pieces[i], 2 * LOG_RECORD_MAX);
            CLEANUP_FREE char *text = alloc_printf("%.*s%s", (int)shift, "xxxxxxxx", piece);
            capture(&captured);
            log_info("%s", text);
            expect_cut(release(&captured), text);
        }
}

static void test_escapes_are_not_cut(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 8; shift++) {
        struct captured captured;
        CLEANUP_FREE char *said = repeat("\x01" "a", LOG_RECORD_MAX);
        CLEANUP_FREE char *escaped = repeat("\\u0001a", 2 * LOG_RECORD_MAX);
        CLEANUP_FREE char *text = alloc_printf("%.*s%s", (int)shift, "xxxxxxxx", escaped);
        capture(&captured);
        log_info("%.*s%s", (int)shift, "xxxxxxxx", said);
        expect_cut(release(&captured), text);
    }
}

/* Between any two quotes that are not escaped is a string, and the braces stand outside. */
static void expect_balanced(const char *record)
{
    bool in_string = false;

    for (const char *c = record; *c != '\0'; c++) {
        if (in_string && *c == '\\')
            c++;
        else if (*c == '"')
            in_string = !in_string;
        else if (!in_string)
            assert_non_null(strchr("{}:,\n", *c));
    }
    assert_false(in_string);
    assert_null(strstr(record, "\"\""));
    assert_string_equal(record + strlen(record) - 2, "}\n");
}

static void test_record_with_a_task_of_any_length_is_json(void **state)
{
    (void)state;
    for (size_t n = LOG_RECORD_MAX - 150; n < LOG_RECORD_MAX + 50; n++) {
        struct captured captured;
        CLEANUP_FREE char *task = repeat("t", n);
        capture(&captured);
        log_task_info(task, "message");
        const char *record = release(&captured);
        assert_true(strlen(record) <= LOG_RECORD_MAX);
        expect_balanced(record);
        assert_non_null(strstr(record, "\"@message\":\"message\""));
    }
}

/* --- readers --------------------------------------------------------------------------------- */

static void test_reader_that_is_gone_does_not_matter(void **state)
{
    struct captured captured;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* as main does */

    (void)state;
    capture(&captured);
    captured.read_fd = close_fd(captured.read_fd);
    log_info("unheard");
    put_back(&captured);
    (void)signal(SIGPIPE, before);
}

static void fill(int fd)
{
    static const char page[LOG_RECORD_MAX];
    int flags = fcntl(fd, F_GETFL);

    assert_true(fcntl(fd, F_SETFL, flags | O_NONBLOCK) >= 0);
    while (write(fd, page, sizeof(page)) > 0)
        ;
    assert_true(fcntl(fd, F_SETFL, flags) >= 0);
}

static void test_reader_that_does_not_read_is_not_waited_for(void **state)
{
    static char page[LOG_RECORD_MAX];
    struct captured captured;
    CLEANUP_FREE char *text = repeat("x", LOG_RECORD_MAX);

    (void)state;
    capture(&captured);
    fill(STDERR_FILENO);
    (void)alarm(20); /* ends the test if it waits after all */
    log_info("%s", text);
    /* As soon as there is room, one is written whole. */
    assert_int_equal(read(captured.read_fd, page, sizeof(page)), sizeof(page));
    log_info("%s", text);
    log_info("unheard");
    (void)alarm(0);
    do
        assert_int_equal(read(captured.read_fd, page, sizeof(page)), sizeof(page));
    while (page[0] == '\0');
    assert_memory_equal(page + sizeof(page) - 4, "x\"}\n", 4);
    assert_string_equal(release(&captured), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_record_is_a_line_of_json),
        FD_LEAK_TEST(test_task_and_level_are_told),
        FD_LEAK_TEST(test_text_is_escaped),
        FD_LEAK_TEST(test_what_is_not_utf8_is_replaced),
        FD_LEAK_TEST(test_records_below_the_level_are_not_written),
        FD_LEAK_TEST(test_long_record_is_cut_between_characters),
        FD_LEAK_TEST(test_escapes_are_not_cut),
        FD_LEAK_TEST(test_record_with_a_task_of_any_length_is_json),
        FD_LEAK_TEST(test_reader_that_is_gone_does_not_matter),
        FD_LEAK_TEST(test_reader_that_does_not_read_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
