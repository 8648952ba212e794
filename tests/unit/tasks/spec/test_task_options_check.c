#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/task_options_check.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/pack.h"

static struct task_options decode(const char *json)
{
    CLEANUP(packed_done) struct packed packed = pack(json);
    CLEANUP_FAIL struct fail fail = {};
    struct task_options config = {};

    if (task_options_decode(&config, packed.bytes, packed.n_bytes, &fail) < 0)
        fail_msg("%s: %s", json, fail_text(&fail));
    return config;
}

static void expect_refused_for(const char *json, const char *task_user, int error, const char *text)
{
    CLEANUP(task_options_done) struct task_options config = decode(json);
    CLEANUP_FAIL struct fail fail = {};

    expect_fail(task_options_check(&config, task_user, &fail), &fail, error, text);
}

static void expect_refused(const char *json, const char *text)
{
    expect_refused_for(json, NULL, -EINVAL, text);
}

static void expect_taken_for(const char *json, const char *task_user)
{
    CLEANUP(task_options_done) struct task_options config = decode(json);
    CLEANUP_FAIL struct fail fail = {};

    if (task_options_check(&config, task_user, &fail) < 0)
        fail_msg("%s: %s", json, fail_text(&fail));
}

static void expect_taken(const char *json)
{
    expect_taken_for(json, NULL);
}

/* --- every row ------------------------------------------------------------------------------- */

static char *json_of(const struct option_row *option, const char *text)
{
    switch (option->type) {
    case OPTION_TYPE_STRING:
        return alloc_printf("{'image': 'x', '%s': '%s'}", option->key, text);
    case OPTION_TYPE_STRING_LIST:
        return alloc_printf("{'image': 'x', '%s': ['%s']}", option->key, text);
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        return alloc_printf("{'image': 'x', '%s': [{'k': '7'}]}", option->key);
    case OPTION_TYPE_BLOCK:
        return alloc_printf("{'image': 'x', '%s': {'url': '%s'}}", option->key, text);
    default:
        fail_msg("option '%s': a kind that no test knows", option->key);
        return NULL;
    }
}

static char *choices_of(const struct option_row *option)
{
    CLEANUP(strv_done) struct strv choices = {};

    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        strv_push(&choices, *choice);
    return strv_join(&choices, ", ");
}

static bool is_fallback(const struct option_row *option, const char *text)
{
    return option->fallback != NULL && strcmp(option->fallback, text) == 0;
}

static void expect_missing(const struct option_row *option, const char *text)
{
    CLEANUP_FREE char *json = json_of(option, text);
    CLEANUP_FREE char *message = alloc_printf("option '%s' is not supported by this version: %s",
                                              option->key, option->missing);

    if (option->type == OPTION_TYPE_STRING && is_fallback(option, text))
        expect_taken(json); /* means what happens anyway */
    else
        expect_refused_for(json, NULL, -EOPNOTSUPP, message);
}

static void test_what_is_not_built_is_refused_by_name(void **state)
{
    unsigned n_missing = 0;

    (void)state;
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++) {
        if (option->missing == NULL)
            continue;
        n_missing++;
        if (option->choices == NULL)
            expect_missing(option, "7");
        else
            for (const char *const *choice = option->choices; *choice != NULL; choice++)
                expect_missing(option, *choice);
        if (option->fallback != NULL)
            expect_missing(option, option->fallback);
    }
    assert_true(n_missing > 0);
}

static void test_every_choice_is_taken_and_nothing_else(void **state)
{
    unsigned n_choices = 0;

    (void)state;
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++) {
        if (option->choices == NULL)
            continue;
        CLEANUP_FREE char *list = choices_of(option);
        CLEANUP_FREE char *json = json_of(option, "Auto"),
                          *text = alloc_printf(
                              "option '%s': 'Auto' is not a value of it; choose one of %s",
                              option->key, list);
        expect_refused(json, text);
        for (const char *const *choice = option->choices; *choice != NULL; choice++, n_choices++) {
            CLEANUP_FREE char *each = json_of(option, *choice);
            if (option->missing == NULL)
                expect_taken(each);
        }
    }
    assert_true(n_choices > 0);
}

static char *text_of(size_t n_bytes)
{
    char *text = alloc_zero(n_bytes + 1, 1);

    memset(text, 'a', n_bytes);
    return text;
}

static void test_every_string_has_a_longest_length(void **state)
{
    CLEANUP_FREE char *text = text_of(TASK_OPTIONS_CHECK_PATH_BYTES_MAX + 1);

    (void)state;
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++) {
        CLEANUP_FREE char *json = option->required ? alloc_printf("{'%s': '%s'}", option->key, text)
                                  : option->type == OPTION_TYPE_STRING ? json_of(option, text)
                                                                       : NULL;
        CLEANUP_FREE char *message = alloc_printf(
            "option '%s': 4096 bytes are too long; at most 4095 are taken", option->key);
        if (json != NULL)
            expect_refused(json, message);
    }
    CLEANUP_FREE char *longest = alloc_printf("{'image': '%s'}", text + 1);
    expect_taken(longest);
}

/* --- single options -------------------------------------------------------------------------- */

static void test_image_is_needed(void **state)
{
    struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    expect_fail(task_options_check(&config, NULL, &fail), &fail, -EINVAL,
                "option 'image' is missing: name a directory with an OS tree");
}

static void test_host_s_root_is_an_image_only_as_a_snapshot(void **state)
{
    static const char text[] =
        "option 'image': '/' is the host's own root; add ephemeral = true to "
        "run from a snapshot of it";

    (void)state;
    expect_refused("{'image': '/'}", text);
    expect_refused("{'image': '//'}", text);
    expect_refused("{'image': '/', 'ephemeral': false}", text);
    expect_taken("{'image': '/', 'ephemeral': true}");
    expect_taken("{'image': '/a'}");
}

static void test_command_is_needed_without_boot_only(void **state)
{
    (void)state;
    expect_refused("{'image': 'x', 'boot': false}",
                   "option 'command' is missing: boot = false needs a program to run");
    expect_refused("{'image': 'x', 'boot': false, 'command': ['', 'a']}",
                   "option 'command': the first item is empty; it must name a program");
    expect_taken("{'image': 'x'}");
    expect_taken("{'image': 'x', 'boot': true, 'command': ['']}");
    expect_taken("{'image': 'x', 'boot': false, 'command': ['ls', '']}");
}

static void test_command_has_a_longest_length(void **state)
{
    CLEANUP_FREE char *text = text_of(TASK_OPTIONS_CHECK_ARGUMENT_BYTES_MAX + 1);
    CLEANUP_FREE char *one = alloc_printf("{'image': 'x', 'boot': false, 'command': ['ls', '%s']}",
                                          text);
    CLEANUP_FREE char *longest =
        alloc_printf("{'image': 'x', 'boot': false, 'command': ['ls', '%s']}", text + 1);
    /* 131071 and 32765 bytes with a NUL each, and "ls" with its own: one too many. */
    CLEANUP_FREE char *sum = alloc_printf(
        "{'image': 'x', 'boot': false, 'command': ['ls', '%s', '%.32765s']}", text + 1, text);
    CLEANUP_FREE char *fits = alloc_printf(
        "{'image': 'x', 'boot': false, 'command': ['ls', '%s', '%.32764s']}", text + 1, text);

    (void)state;
    expect_refused(one,
                   "option 'command': item 2 has 131072 bytes, at most 131071 are taken; use a "
                   "template block to make it a file");
    expect_taken(longest);
    expect_refused(sum, "option 'command': 163841 bytes in all, at most 163840 are taken; use a "
                        "template block to make it a file");
    expect_taken(fits);
}

static void test_working_directory_is_absolute(void **state)
{
    (void)state;
    expect_refused("{'image': 'x', 'working_directory': 'srv'}",
                   "option 'working_directory': 'srv' is relative; write the absolute path inside "
                   "the container");
    expect_taken("{'image': 'x', 'working_directory': '/srv'}");
}

static void test_hostname_is_one(void **state)
{
    static const char *const wrong[] = { "-a", "a_b", "a..b", "a b", "a-", "\xc3\xa4" };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CLEANUP_FREE char *json = alloc_printf("{'image': 'x', 'hostname': '%s'}", wrong[i]);
        CLEANUP_FREE char *text = alloc_printf(
            "option 'hostname': '%s' is not a host name; use letters, digits, '-' and '.', at "
            "most 64 characters, each part beginning and ending with a letter or digit",
            wrong[i]);
        expect_refused(json, text);
    }
    expect_taken("{'image': 'x', 'hostname': 'web-1.example'}");
}

static void test_capability_is_one_or_all(void **state)
{
    (void)state;
    expect_refused("{'image': 'x', 'capability': ['CAP_CHOWN', 'CAP_NOTHING']}",
                   "option 'capability': 'CAP_NOTHING' is no capability; write a name like "
                   "CAP_NET_ADMIN (see capabilities(7)) or all");
    expect_refused("{'image': 'x', 'capability': ['CAP_CHOWN,CAP_KILL']}",
                   "option 'capability': 'CAP_CHOWN,CAP_KILL' is no capability; write a name like "
                   "CAP_NET_ADMIN (see capabilities(7)) or all");
    expect_refused("{'image': 'x', 'capability': ['']}",
                   "option 'capability': '' is no capability; write a name like CAP_NET_ADMIN (see "
                   "capabilities(7)) or all");
    expect_taken("{'image': 'x', 'capability': ['cap_chown', 'all']}");
}

/* --- user ------------------------------------------------------------------------------------ */

#define PROCESS "'image': 'x', 'boot': false, 'command': ['ls']"

static void test_user_of_nomad_is_checked_as_the_option_is(void **state)
{
    CLEANUP_FREE char *text = text_of(TASK_OPTIONS_CHECK_PATH_BYTES_MAX + 1);

    (void)state;
    expect_refused_for("{" PROCESS "}", "a\nb", -EINVAL,
                       "user: the control character 0x0a in the name; remove it");
    expect_refused_for("{" PROCESS "}", "\x7f", -EINVAL,
                       "user: the control character 0x7f in the name; remove it");
    expect_refused_for("{" PROCESS "}", "\xff", -EINVAL,
                       "user: a name that is not UTF-8; remove the odd bytes");
    expect_refused_for("{" PROCESS "}", text, -EINVAL,
                       "option 'user': 4096 bytes are too long; at most 4095 are taken");
    expect_taken_for("{" PROCESS "}", "web");
}

static void expect_user(const char *json, const char *task_user, const char *expected)
{
    CLEANUP(task_options_done) struct task_options config = decode(json);

    assert_int_equal(task_options_check(&config, task_user, NULL), 0);
    if (expected == NULL)
        assert_null(config.user);
    else
        assert_string_equal(config.user, expected);
}

static void test_option_goes_before_nomad_s_user(void **state)
{
    (void)state;
    expect_user("{" PROCESS "}", NULL, NULL);
    expect_user("{" PROCESS "}", "", NULL);
    expect_user("{" PROCESS "}", "web", "web");
    expect_user("{" PROCESS ", 'user': 'db'}", "web", "db");
    expect_user("{" PROCESS ", 'user': ''}", "web", "web");
    /* What is checked is what counts. */
    expect_user("{" PROCESS ", 'user': 'db'}", "a\nb", "db");
}

/* --- binds ----------------------------------------------------------------------------------- */

static void test_bind_needs_two_paths(void **state)
{
    (void)state;
    expect_refused("{'image': 'x', 'bind': [{'': '/a'}]}",
                   "option 'bind': an empty host path; write \"/on/the/host\" = \"/inside\"");
    expect_refused("{'image': 'x', 'bind_read_only': [{'/a': ''}]}",
                   "option 'bind_read_only': an empty path inside; write \"/on/the/host\" = "
                   "\"/inside\"");
    expect_refused("{'image': 'x', 'bind': [{'/a': 'b'}]}",
                   "option 'bind': the path inside, 'b', is relative; write it absolute");
    expect_taken("{'image': 'x', 'bind': [{'relative/on/the/host': '/a'}]}");
}

static void test_nothing_is_bound_over_the_root(void **state)
{
    static const char text[] =
        "option 'bind': '/a' can't be bound over the root; name it as 'image' instead";

    (void)state;
    expect_refused("{'image': 'x', 'bind': [{'/a': '/'}]}", text);
    expect_refused("{'image': 'x', 'bind': [{'/a': '///'}]}", text);
}

static void test_bind_paths_have_a_longest_length(void **state)
{
    CLEANUP_FREE char *text = text_of(TASK_OPTIONS_CHECK_PATH_BYTES_MAX);
    CLEANUP_FREE char *host = alloc_printf("{'image': 'x', 'bind': [{'/%s': '/a'}]}", text);
    CLEANUP_FREE char *inside = alloc_printf("{'image': 'x', 'bind': [{'/a': '/%s'}]}", text);
    CLEANUP_FREE char *fits = alloc_printf("{'image': 'x', 'bind': [{'/%s': '/%s'}]}", text + 1,
                                           text + 1);

    (void)state;
    expect_refused(host, "option 'bind': a host path of 4096 bytes; at most 4095 are taken");
    expect_refused(inside, "option 'bind': a path inside of 4096 bytes; at most 4095 are taken");
    expect_taken(fits);
}

static char *binds_json(unsigned n, unsigned n_read_only)
{
    CLEANUP(strv_done) struct strv binds = {}, read_only = {};

    for (unsigned i = 0; i < n; i++)
        strv_printf(&binds, "'/%u': '/%u'", i, i);
    for (unsigned i = n; i < n + n_read_only; i++)
        strv_printf(&read_only, "'/%u': '/%u'", i, i);
    CLEANUP_FREE char *a = strv_join(&binds, ","), *b = strv_join(&read_only, ",");
    return alloc_printf("{'image': 'x', 'bind': [{%s}], 'bind_read_only': [{%s}]}", a, b);
}

static void test_binds_are_limited_together(void **state)
{
    CLEANUP_FREE char *most = binds_json(200, TASK_OPTIONS_CHECK_BINDS_MAX - 200);
    CLEANUP_FREE char *more = binds_json(200, TASK_OPTIONS_CHECK_BINDS_MAX - 199);

    (void)state;
    expect_taken(most);
    expect_refused(more, "options 'bind' and 'bind_read_only': 257 binds, at most 256 are taken; "
                         "bind a directory above several of them");
}

/* --- combinations ---------------------------------------------------------------------------- */

static void test_boot_excludes_process_two(void **state)
{
    (void)state;
    expect_refused(
        "{'image': 'x', 'process_two': true}",
        "option 'process_two' = true excludes boot, which is true unless written "
        "otherwise: add boot = false to run 'command', or remove process_two to boot the "
        "image");
    expect_refused("{'image': 'x', 'boot': true, 'process_two': true}",
                   "option 'process_two' = true excludes boot = true: add boot = false to run "
                   "'command', or remove process_two to boot the image");
    expect_taken("{'image': 'x', 'process_two': false}");
    expect_taken("{" PROCESS ", 'process_two': true}");
}

static void test_boot_excludes_a_user(void **state)
{
    (void)state;
    expect_refused("{'image': 'x', 'user': 'web'}",
                   "user 'web' excludes boot, which is true unless written otherwise: add boot = "
                   "false to run 'command' as that user, or remove user to boot the image");
    expect_refused_for("{'image': 'x', 'boot': true}", "web", -EINVAL,
                       "user 'web' excludes boot = true: add boot = false to run 'command' as that "
                       "user, or remove user to boot the image");
    expect_user("{'image': 'x', 'user': 'root'}", NULL, NULL);
    expect_user("{'image': 'x'}", "0", NULL);
}

/* --- defaults -------------------------------------------------------------------------------- */

static void expect_defaults(const char *json, bool boot, bool process_two, const char *console)
{
    CLEANUP(task_options_done) struct task_options config = decode(json);

    assert_int_equal(task_options_check(&config, NULL, NULL), 0);
    assert_int_equal(config.boot, boot ? TRISTATE_YES : TRISTATE_NO);
    assert_int_equal(config.process_two, process_two ? TRISTATE_YES : TRISTATE_NO);
    assert_string_equal(config.console, console);
    assert_int_equal(config.user_namespacing, TRISTATE_YES);
    assert_int_equal(config.network_veth, TRISTATE_YES);
    assert_int_equal(config.ephemeral, TRISTATE_NO);
    assert_int_equal(config.read_only, TRISTATE_NO);
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++)
        if (option->type == OPTION_TYPE_TRISTATE)
            assert_int_not_equal(*option_tristate(option, &config), TRISTATE_UNSET);
}

static void test_defaults_depend_on_boot(void **state)
{
    (void)state;
    expect_defaults("{'image': 'x'}", true, false, "read-only");
    expect_defaults("{'image': 'x', 'boot': true}", true, false, "read-only");
    expect_defaults("{" PROCESS "}", false, true, "pipe");
    expect_defaults("{" PROCESS ", 'process_two': false}", false, false, "pipe");
    expect_defaults("{" PROCESS ", 'console': 'passive'}", false, true, "passive");
}

static void test_what_was_written_stays(void **state)
{
    CLEANUP(task_options_done)
    struct task_options config = decode(
        "{'image': 'x', 'user_namespacing': false, 'network_veth': false, 'ephemeral': "
        "true, 'read_only': true}");

    (void)state;
    assert_int_equal(task_options_check(&config, NULL, NULL), 0);
    assert_int_equal(config.user_namespacing, TRISTATE_NO);
    assert_int_equal(config.network_veth, TRISTATE_NO);
    assert_int_equal(config.ephemeral, TRISTATE_YES);
    assert_int_equal(config.read_only, TRISTATE_YES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_is_not_built_is_refused_by_name),
        FD_LEAK_TEST(test_every_choice_is_taken_and_nothing_else),
        FD_LEAK_TEST(test_every_string_has_a_longest_length),
        FD_LEAK_TEST(test_image_is_needed),
        FD_LEAK_TEST(test_host_s_root_is_an_image_only_as_a_snapshot),
        FD_LEAK_TEST(test_command_is_needed_without_boot_only),
        FD_LEAK_TEST(test_command_has_a_longest_length),
        FD_LEAK_TEST(test_working_directory_is_absolute),
        FD_LEAK_TEST(test_hostname_is_one),
        FD_LEAK_TEST(test_capability_is_one_or_all),
        FD_LEAK_TEST(test_user_of_nomad_is_checked_as_the_option_is),
        FD_LEAK_TEST(test_option_goes_before_nomad_s_user),
        FD_LEAK_TEST(test_bind_needs_two_paths),
        FD_LEAK_TEST(test_nothing_is_bound_over_the_root),
        FD_LEAK_TEST(test_bind_paths_have_a_longest_length),
        FD_LEAK_TEST(test_binds_are_limited_together),
        FD_LEAK_TEST(test_boot_excludes_process_two),
        FD_LEAK_TEST(test_boot_excludes_a_user),
        FD_LEAK_TEST(test_defaults_depend_on_boot),
        FD_LEAK_TEST(test_what_was_written_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
