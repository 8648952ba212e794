#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tasks/nspawn/nspawn_settings.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"

/* --- a reader -------------------------------------------------------------------------------- */

/* What systemd's parser makes of the right side of one Environment= line, as systemd.syntax(7) and
 * systemd's extract_first_word() with UNQUOTE and without CUNESCAPE have it: blanks separate, both
 * kinds of quotes hold, a backslash outside of quotes takes itself away; here none may be outside. */
static char *unquote(const char *line)
{
    CLEANUP_FREE char *text = alloc_zero(strlen(line) + 1, 1);
    char *to = text, quote = '\0';

    for (const char *c = line; *c != '\0'; c++) {
        if (quote == '\0' && (*c == '\'' || *c == '"'))
            quote = *c;
        else if (*c == quote)
            quote = '\0';
        else if (quote != '\0')
            *to++ = *c;
        else
            fail_msg("'%c' outside of quotes in: %s", *c, line);
    }
    assert_true(quote == '\0');
    return TAKE_PTR(text);
}

static const char head[] = "[Exec]\n", assignment[] = "Environment=";

/* Reads the file back; every line must be whole and be one variable. */
static void read_back(const char *text, struct strv *variables)
{
    assert_memory_equal(text, head, sizeof(head) - 1);
    for (const char *line = text + sizeof(head) - 1, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_true(end - line < 1 << 20); /* systemd's LONG_LINE_MAX */
        assert_memory_equal(line, assignment, sizeof(assignment) - 1);
        CLEANUP_FREE char *quoted = alloc_strndup(line + sizeof(assignment) - 1,
                                                  (size_t)(end - line) - (sizeof(assignment) - 1));
        strv_push_owned(variables, unquote(quoted));
    }
}

static void expect_carried(const char *name, const char *value)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP(strv_done) struct strv variables = {};
    CLEANUP_FREE char *text = NULL, *expected = alloc_printf("%s=%s", name, value);
    CLEANUP_FAIL struct fail fail = {};

    pairs_set(&pairs, name, value);
    if (nspawn_settings_format(&pairs, &text, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
    read_back(text, &variables);
    assert_int_equal(variables.n_items, 1);
    assert_string_equal(variables.items[0], expected);
}

static void expect_refused(const char *name, const char *value, const char *message)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FAIL struct fail fail = {};
    char *text = NULL;

    pairs_set(&pairs, "FIRST", "is fine");
    pairs_set(&pairs, name, value);
    expect_fail(nspawn_settings_format(&pairs, &text, &fail), &fail, -EINVAL, message);
    assert_null(text);
}

#define CANNOT                                                                                 \
    ", which can't be carried into the container; remove it, or hand it over in a file (a "    \
    "template block)"

/* --- what is carried ------------------------------------------------------------------------- */

static void test_file_is_as_it_always_was(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FREE char *text = NULL;

    (void)state;
    pairs_set(&pairs, "PLAIN", "value");
    pairs_set(&pairs, "EMPTY", "");
    pairs_set(&pairs, "BLANKS", "  two  each ");
    pairs_set(&pairs, "SINGLE", "it's");
    pairs_set(&pairs, "DOUBLE", "say \"yes\"");
    pairs_set(&pairs, "BOTH", "'\"'\"''");
    pairs_set(&pairs, "SPECIFIERS", "%n %% $HOME ${HOME} \\n \\");
    pairs_set(&pairs, "COMMENT", "# ; [Exec]");
    pairs_set(&pairs, "UNICODE", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    assert_int_equal(nspawn_settings_format(&pairs, &text, NULL), 0);
    golden_compare("nspawn_settings.txt", text);
}

static void test_no_variables_are_a_file_too(void **state)
{
    const struct pairs pairs = {};
    CLEANUP_FREE char *text = NULL;

    (void)state;
    assert_int_equal(nspawn_settings_format(&pairs, &text, NULL), 0);
    assert_string_equal(text, "[Exec]\n");
}

static void test_every_byte_of_ascii_is_carried_but_line_ends(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 0x80; c++) {
        char value[] = { 'a', (char)c, (char)c, 'b', '\0' }, alone[] = { (char)c, '\0' };
        if (c == '\n' || c == '\r')
            continue;
        expect_carried("NAME", value);
        expect_carried("NAME", alone);
    }
}

static void test_quotes_in_every_order_are_carried(void **state)
{
    static const char bytes[] = "'\"\\ ";

    (void)state;
    for (unsigned n = 0; n < 4 * 4 * 4 * 4 * 4; n++) {
        char value[6] = {};
        unsigned rest = n;
        for (size_t i = 0; i < 5; i++, rest /= 4)
            value[i] = bytes[rest % 4];
        expect_carried("NAME", value);
    }
}

static void test_odd_names_are_carried(void **state)
{
    (void)state;
    expect_carried("a b", "1");
    expect_carried("it's", "1");
    expect_carried("NOMAD_ADDR_http-1.x", "1");
    expect_carried("\xc3\xa4", "1");
}

/* --- what is not ----------------------------------------------------------------------------- */

static void test_line_breaks_are_refused_by_name(void **state)
{
    (void)state;
    expect_refused("CERT", "a\nb", "environment variable 'CERT': its value holds a line break" CANNOT);
    expect_refused("CERT", "a\r", "environment variable 'CERT': its value holds a line break" CANNOT);
    expect_refused("A\nB", "", "environment variable 'A?B': its name holds a line break" CANNOT);
}

static void test_names_that_are_none_are_refused(void **state)
{
    (void)state;
    expect_refused("", "x", "environment variable '': its name is empty" CANNOT);
    expect_refused("A=B", "x", "environment variable 'A=B': its name holds a '='" CANNOT);
    expect_refused("A\xff", "x",
                   "environment variable 'A\xef\xbf\xbd': its name is not UTF-8" CANNOT);
    expect_refused("0123456789012345678901234567890123456789012345678901234567890123XYZ=", "x",
                   "environment variable "
                   "'0123456789012345678901234567890123456789012345678901234567890123': its name "
                   "holds a '='" CANNOT);
}

static void test_value_is_never_told(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FAIL struct fail fail = {};
    char *text = NULL;

    (void)state;
    pairs_set(&pairs, "TOKEN", "s3cret\n");
    assert_int_equal(nspawn_settings_format(&pairs, &text, &fail), -EINVAL);
    assert_null(strstr(fail_text(&fail), "s3cret"));
}

static void test_what_is_not_utf8_is_refused(void **state)
{
    static const char text[] = "environment variable 'NAME': its value is not UTF-8" CANNOT;

    (void)state;
    expect_refused("NAME", "\xff", text);
    expect_refused("NAME", "\xc3", text);
    expect_refused("NAME", "\xed\xa0\x80", text);
    expect_refused("NAME", "\xc0\x80", text);
}

static void encode(uint32_t c, char text[5])
{
    if (c < 0x10000)
        (void)snprintf(text, 5, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                       (char)(0x80 | (c & 0x3f)));
    else
        (void)snprintf(text, 5, "%c%c%c%c", (char)(0xf0 | c >> 18),
                       (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)),
                       (char)(0x80 | (c & 0x3f)));
    assert_true(utf8_is_valid(text, strlen(text)));
}

static bool is_character(uint32_t c)
{
    return !(c >= 0xfdd0 && c <= 0xfdef) && (c & 0xfffe) != 0xfffe;
}

/* All of three and four bytes; nspawn drops the whole file over one that is no character. */
static void test_exactly_what_is_no_character_is_refused(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};

    (void)state;
    for (uint32_t c = 0x800; c <= 0x10ffff; c++) {
        char value[5];
        CLEANUP_FREE char *text = NULL;
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        encode(c, value);
        pairs_set(&pairs, "NAME", value);
        if ((nspawn_settings_format(&pairs, &text, NULL) == 0) != is_character(c))
            fail_msg("U+%04X", c);
    }
    expect_refused("NAME", "a\xef\xbf\xbe", "environment variable 'NAME': its value holds a code "
                                            "point that is no character (like U+FFFE)" CANNOT);
}

/* --- limits ---------------------------------------------------------------------------------- */

static char *fill(char c, size_t n)
{
    char *text = alloc_zero(n + 1, 1);

    memset(text, c, n);
    return text;
}

static void test_variable_has_a_longest_length(void **state)
{
    CLEANUP_FREE char *value = fill('a', NSPAWN_SETTINGS_VARIABLE_BYTES_MAX - 4);
    CLEANUP_FREE char *quotes = fill('\'', NSPAWN_SETTINGS_VARIABLE_BYTES_MAX - 5);

    (void)state;
    expect_carried("NAME", value + 1);
    expect_carried("NAME", quotes);
    expect_refused("NAME", value, "environment variable 'NAME': its value is longer than execve(2) "
                                  "takes (128 KiB)" CANNOT);
}

/* The worst for the quoting: each byte in quotes of its own. */
static void test_quoting_never_outgrows_its_memory(void **state)
{
    CLEANUP_FREE char *value = fill('a', NSPAWN_SETTINGS_VARIABLE_BYTES_MAX - 5);

    (void)state;
    for (size_t i = 0; value[i] != '\0'; i += 2)
        value[i] = '\'';
    expect_carried("NAME", value);
    expect_carried("'", "");
    expect_carried("'", "'");
}

static void test_whole_environment_has_a_largest_size(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FREE char *value = fill('a', 65536 - 6); /* "NAME=" and a NUL are counted */
    CLEANUP_FREE char *text = NULL;
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    for (char name[] = "NAMA"; name[3] < 'A' + 16; name[3]++)
        pairs_set(&pairs, name, value);
    assert_int_equal(nspawn_settings_format(&pairs, &text, NULL), 0);
    pairs_set(&pairs, "N", "");
    free(text);
    text = NULL;
    expect_fail(nspawn_settings_format(&pairs, &text, &fail), &fail, -EINVAL,
                "the environment has 1048579 bytes, at most 1048576 are taken; hand the large "
                "variables over in files (template blocks)");
    assert_null(text);
}

static void test_nomad_s_variables_win(void **state)
{
    CLEANUP(pairs_done) struct pairs job = {}, nomad = {}, merged = {};

    (void)state;
    pairs_set(&job, "PATH", "/job");
    pairs_set(&job, "LANG", "C");
    pairs_set(&nomad, "NOMAD_TASK_NAME", "web");
    pairs_set(&nomad, "PATH", "/nomad");
    nspawn_settings_merge(&job, &nomad, &merged);
    assert_int_equal(merged.n_items, 3);
    assert_string_equal(pairs_get(&merged, "PATH"), "/nomad");
    assert_string_equal(pairs_get(&merged, "LANG"), "C");
    assert_string_equal(pairs_get(&merged, "NOMAD_TASK_NAME"), "web");
}

static void test_line_breaks_are_no_matter_of_execve(void **state)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    pairs_set(&pairs, "LINES", "one\ntwo\r\n\xff");
    assert_int_equal(nspawn_settings_check(&pairs, &fail), 0);
    pairs_set(&pairs, "a=b", "");
    expect_fail_with(nspawn_settings_check(&pairs, &fail), &fail, -EINVAL,
                     "environment variable 'a=b': its name holds a '='");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_file_is_as_it_always_was),
        FD_LEAK_TEST(test_no_variables_are_a_file_too),
        FD_LEAK_TEST(test_every_byte_of_ascii_is_carried_but_line_ends),
        FD_LEAK_TEST(test_quotes_in_every_order_are_carried),
        FD_LEAK_TEST(test_odd_names_are_carried),
        FD_LEAK_TEST(test_line_breaks_are_refused_by_name),
        FD_LEAK_TEST(test_names_that_are_none_are_refused),
        FD_LEAK_TEST(test_value_is_never_told),
        FD_LEAK_TEST(test_what_is_not_utf8_is_refused),
        FD_LEAK_TEST(test_exactly_what_is_no_character_is_refused),
        FD_LEAK_TEST(test_variable_has_a_longest_length),
        FD_LEAK_TEST(test_quoting_never_outgrows_its_memory),
        FD_LEAK_TEST(test_whole_environment_has_a_largest_size),
        FD_LEAK_TEST(test_nomad_s_variables_win),
        FD_LEAK_TEST(test_line_breaks_are_no_matter_of_execve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
