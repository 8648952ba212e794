/* What every row of every option table must be, and what can be done with each by its row alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/option.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/spec/option_tables.h"

typedef void (*row_fn)(const struct option_table *table, const struct option_row *option);

static void walk(row_fn check)
{
    size_t n_rows = 0;

    for (const struct option_table *table = option_tables(); table->options != NULL; table++)
        for (const struct option_row *option = table->options; option->key != NULL;
             option++, n_rows++)
            check(table, option);
    assert_true(n_rows > 30);
}

#define CHECK(condition, table, option)                                              \
    do {                                                                             \
        if (!(condition))                                                            \
            fail_msg("%s, option '%s': %s", (table)->name, (option)->key, #condition); \
    } while (false)

static bool has_choice(const struct option_row *option, const char *value)
{
    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        if (strcmp(*choice, value) == 0)
            return true;
    return false;
}

static bool is_text_type(enum option_type type)
{
    return type == OPTION_TYPE_STRING || type == OPTION_TYPE_STRING_LIST ||
           type == OPTION_TYPE_STRING_MAP;
}

static bool ends_with_value(const char *argument)
{
    size_t n = strlen(argument);

    return n > 3 && strcmp(argument + n - 3, "=%s") == 0 && strchr(argument, '%') == argument + n - 2;
}

/* --- rows ------------------------------------------------------------------------------------ */

static void check_key(const struct option_table *table, const struct option_row *option)
{
    CHECK(option->type < OPTION_TYPE_MAX, table, option);
    CHECK(option->key[0] != '\0', table, option);
    CHECK(option->key[strspn(option->key, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0', table,
          option);
    CHECK(option->help != NULL && option->help[0] != '\0', table, option);
    CHECK(option_find(table->options, option->key, strlen(option->key)) == option, table, option);
    CHECK((option_hcl_type(option) == NULL) == (option->type == OPTION_TYPE_BLOCK), table, option);
    CHECK((option->nested != NULL) == (option->type == OPTION_TYPE_BLOCK), table, option);
}

static void check_default(const struct option_table *table, const struct option_row *option)
{
    const char *literal = option->schema_default;

    CHECK(!option->required || literal == NULL, table, option);
    if (option->type == OPTION_TYPE_BOOL)
        CHECK(literal != NULL && (strcmp(literal, "true") == 0 || strcmp(literal, "false") == 0),
              table, option);
    else if (option->type != OPTION_TYPE_STRING)
        CHECK(literal == NULL, table, option);
    if (option->type == OPTION_TYPE_TRISTATE)
        CHECK(option->fallback != NULL, table, option);
}

static void check_choices(const struct option_table *table, const struct option_row *option)
{
    if (option->choices == NULL)
        return;
    CHECK(option->type == OPTION_TYPE_STRING, table, option);
    CHECK(option->choices[0] != NULL, table, option);
    if (option->schema_default != NULL) {
        CLEANUP_FREE char *value = alloc_strndup(option->schema_default + 1,
                                                 strlen(option->schema_default) - 2);
        CHECK(has_choice(option, value), table, option);
    }
    /* One word is a value, more are a sentence of the reference. */
    if (option->fallback != NULL && strpbrk(option->fallback, " '`") == NULL)
        CHECK(has_choice(option, option->fallback), table, option);
}

static void check_argument(const struct option_table *table, const struct option_row *option)
{
    if (option->argument == NULL)
        return;
    CHECK(strncmp(option->argument, "--", 2) == 0, table, option);
    CHECK(option->missing == NULL, table, option);
    if (option->type == OPTION_TYPE_TRISTATE || option->type == OPTION_TYPE_BOOL)
        CHECK(strpbrk(option->argument, "=%") == NULL, table, option);
    else
        CHECK(ends_with_value(option->argument), table, option);
}

static void check_multiline(const struct option_table *table, const struct option_row *option)
{
    CHECK(!option->multiline || is_text_type(option->type), table, option);
}

static void check_is_alone(const struct option_table *table, const struct option_row *option)
{
    for (const struct option_row *other = table->options; other != option; other++) {
        CHECK(strcmp(other->key, option->key) != 0, table, option);
        CHECK(other->offset != option->offset, table, option);
    }
    CHECK(option->offset < table->struct_size, table, option);
    CHECK(option - table->options < 64, table, option); /* a bit each in option_decode */
}

static void test_every_row_is_sound(void **state)
{
    (void)state;
    walk(check_key);
    walk(check_default);
    walk(check_choices);
    walk(check_argument);
    walk(check_multiline);
    walk(check_is_alone);
}

/* --- fields ---------------------------------------------------------------------------------- */

/* Another value than the one that means nothing, whatever the type. */
static void set_field(const struct option_row *option, void *base)
{
    switch (option->type) {
    case OPTION_TYPE_BOOL:
        *option_bool(option, base) = !*option_bool(option, base);
        break;
    case OPTION_TYPE_TRISTATE:
        *option_tristate(option, base) = TRISTATE_NO;
        break;
    case OPTION_TYPE_STRING:
        if (*option_string(option, base) == NULL)
            *option_string(option, base) = alloc_strdup("text");
        break;
    case OPTION_TYPE_STRING_LIST:
        strv_push(option_string_list(option, base), "item");
        break;
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        pairs_set(option_map(option, base), "key", "1");
        break;
    case OPTION_TYPE_BLOCK:
        *option_block(option, base) = alloc_zero(1, option->nested_size);
        options_init(option->nested, *option_block(option, base));
        break;
    case OPTION_TYPE_MAX:
        break;
    }
}

static void check_set_and_done(const struct option_table *table, const struct option_row *option)
{
    CLEANUP_FREE char *base = alloc_zero(1, table->struct_size);
    CLEANUP_FREE char *zero = alloc_zero(1, table->struct_size);

    options_init(table->options, base);
    bool has_default = option->type == OPTION_TYPE_STRING && option->schema_default != NULL;
    CHECK(option_is_set(option, base) == has_default, table, option);
    set_field(option, base);
    CHECK(option_is_set(option, base), table, option);
    for (const struct option_row *other = table->options; other->key != NULL; other++)
        if (other != option && !(other->type == OPTION_TYPE_STRING && other->schema_default != NULL))
            CHECK(!option_is_set(other, base), table, other);
    options_done(table->options, base);
    CHECK(memcmp(base, zero, table->struct_size) == 0, table, option);
}

static void test_every_field_is_set_and_freed_alone(void **state)
{
    (void)state;
    walk(check_set_and_done);
}

static void test_schema_defaults_are_in_the_fields(void **state)
{
    static const struct option_row options[] = {
        { .key = "a", .type = OPTION_TYPE_BOOL, .offset = 0, .schema_default = "true" },
        { .key = "b", .type = OPTION_TYPE_BOOL, .offset = 1, .schema_default = "false" },
        { .key = "c", .type = OPTION_TYPE_STRING, .offset = 8, .schema_default = "\"tar\"" },
        { .key = "d", .type = OPTION_TYPE_STRING, .offset = 16, .schema_default = "\"\"" },
        {},
    };
    struct {
        bool a, b;
        char *c, *d;
    } fields = {};

    (void)state;
    assert_int_equal(offsetof(__typeof__(fields), d), 16);
    options_init(options, &fields);
    assert_true(fields.a);
    assert_false(fields.b);
    assert_string_equal(fields.c, "tar");
    assert_string_equal(fields.d, "");
    options_done(options, &fields);
    assert_null(fields.c);
}

static void test_keys_are_found_whole(void **state)
{
    const struct option_row *options = option_tables()->options;

    (void)state;
    assert_null(option_find(options, "imag", 4));
    assert_null(option_find(options, "image_", 6));
    assert_null(option_find(options, "Image", 5));
    assert_null(option_find(options, "image\0x", 7));
    assert_null(option_find(options, "", 0));
    assert_string_equal(option_find(options, "image_download_and_more", 14)->key, "image_download");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_row_is_sound),
        FD_LEAK_TEST(test_every_field_is_set_and_freed_alone),
        FD_LEAK_TEST(test_schema_defaults_are_in_the_fields),
        FD_LEAK_TEST(test_keys_are_found_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
