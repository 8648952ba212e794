#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "rpc/nomad/convert_schema.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"
#include "tests/support/golden.h"

#define CLEANUP_STRV CLEANUP(strv_done)

static void print_spec(struct strv *lines, int depth, const char *label, const Hcl__Spec *spec);

static void print_object(struct strv *lines, int depth, const Hcl__Object *object)
{
    for (size_t i = 0; i < object->n_attributes; i++)
        print_spec(lines, depth, object->attributes[i]->key, object->attributes[i]->value);
}

static void print_spec(struct strv *lines, int depth, const char *label, const Hcl__Spec *spec)
{
    const char *required;

    switch (spec->block_case) {
    case HCL__SPEC__BLOCK_OBJECT:
        strv_printf(lines, "%*s%s: object", depth * 4, "", label);
        print_object(lines, depth + 1, spec->object);
        break;
    case HCL__SPEC__BLOCK_ATTR:
        required = spec->attr->required ? " required" : "";
        strv_printf(lines, "%*s%s: attr '%s' %s%s", depth * 4, "", label, spec->attr->name,
                    spec->attr->type, required);
        break;
    case HCL__SPEC__BLOCK_BLOCK_VALUE:
        required = spec->block_value->required ? " required" : "";
        strv_printf(lines, "%*s%s: block '%s'%s", depth * 4, "", label, spec->block_value->name,
                    required);
        print_spec(lines, depth + 1, "nested", spec->block_value->nested);
        break;
    case HCL__SPEC__BLOCK_DEFAULT:
        strv_printf(lines, "%*s%s: default", depth * 4, "", label);
        print_spec(lines, depth + 1, "primary", spec->default_->primary);
        print_spec(lines, depth + 1, "default", spec->default_->default_);
        break;
    case HCL__SPEC__BLOCK_LITERAL:
        strv_printf(lines, "%*s%s: literal %s", depth * 4, "", label, spec->literal->value);
        break;
    default:
        fail_msg("%s: a kind of spec that the schema does not use: %d", label, spec->block_case);
    }
}

static void compare_schema(const char *name, const struct option_row *options)
{
    Hcl__Spec *spec = convert_schema(options);
    CLEANUP_STRV struct strv lines = {};

    print_spec(&lines, 0, "root", spec);
    hcl__spec__free_unpacked(spec, NULL);
    strv_push(&lines, "");
    CLEANUP_FREE char *text = strv_join(&lines, "\n");
    golden_compare(name, text);
}

static void test_schema_of_a_task_is_as_written(void **state)
{
    (void)state;
    compare_schema("schema_task.txt", task_option_rows);
}

static void test_schema_of_the_plugin_is_as_written(void **state)
{
    (void)state;
    compare_schema("schema_plugin.txt", plugin_options);
}

/* What was packed is what the agent unpacks. */
static void test_schema_survives_the_wire(void **state)
{
    (void)state;
    Hcl__Spec *spec = convert_schema(task_option_rows);
    size_t n_bytes = hcl__spec__get_packed_size(spec);
    CLEANUP_FREE uint8_t *bytes = malloc(n_bytes);
    CLEANUP_FREE uint8_t *again = malloc(n_bytes);

    assert_int_equal(hcl__spec__pack(spec, bytes), n_bytes);
    hcl__spec__free_unpacked(spec, NULL);
    spec = hcl__spec__unpack(NULL, n_bytes, bytes);
    assert_non_null(spec);
    assert_int_equal(hcl__spec__get_packed_size(spec), n_bytes);
    assert_int_equal(hcl__spec__pack(spec, again), n_bytes);
    assert_memory_equal(bytes, again, n_bytes);
    hcl__spec__free_unpacked(spec, NULL);
}

static size_t count(const struct option_row *options)
{
    size_t n = 0;

    while (options[n].key != NULL)
        n++;
    return n;
}

/* A generic walk: every row is there, under its key and with its name. */
static void check_rows(const struct option_row *options, const Hcl__Spec *spec)
{
    assert_int_equal(spec->block_case, HCL__SPEC__BLOCK_OBJECT);
    assert_int_equal(spec->object->n_attributes, count(options));
    for (size_t i = 0; i < spec->object->n_attributes; i++) {
        const Hcl__Object__AttributesEntry *entry = spec->object->attributes[i];
        const Hcl__Spec *value = entry->value;

        assert_string_equal(entry->key, options[i].key);
        if (options[i].type == OPTION_TYPE_BLOCK) {
            assert_int_equal(value->block_case, HCL__SPEC__BLOCK_BLOCK_VALUE);
            assert_string_equal(value->block_value->name, options[i].key);
            check_rows(options[i].nested, value->block_value->nested);
            continue;
        }
        if (options[i].schema_default != NULL) {
            assert_int_equal(value->block_case, HCL__SPEC__BLOCK_DEFAULT);
            assert_string_equal(value->default_->default_->literal->value,
                                options[i].schema_default);
            value = value->default_->primary;
        }
        assert_int_equal(value->block_case, HCL__SPEC__BLOCK_ATTR);
        assert_string_equal(value->attr->name, options[i].key);
        assert_string_equal(value->attr->type, option_hcl_type(&options[i]));
        assert_int_equal(value->attr->required, options[i].required);
    }
}

static void test_every_row_is_in_the_schema(void **state)
{
    (void)state;
    const struct option_row *const tables[] = { task_option_rows, plugin_options };

    for (size_t i = 0; i < 2; i++) {
        Hcl__Spec *spec = convert_schema(tables[i]);
        check_rows(tables[i], spec);
        hcl__spec__free_unpacked(spec, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_of_a_task_is_as_written),
        cmocka_unit_test(test_schema_of_the_plugin_is_as_written),
        cmocka_unit_test(test_schema_survives_the_wire),
        cmocka_unit_test(test_every_row_is_in_the_schema),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
