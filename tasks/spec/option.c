#include "tasks/spec/option.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"

static const char *const hcl_types[OPTION_TYPE_MAX] = {
    [OPTION_TYPE_BOOL] = "bool",
    [OPTION_TYPE_TRISTATE] = "bool",
    [OPTION_TYPE_STRING] = "string",
    [OPTION_TYPE_STRING_LIST] = "list(string)",
    [OPTION_TYPE_STRING_MAP] = "list(map(string))",
    [OPTION_TYPE_NUMBER_MAP] = "list(map(number))",
};

const char *option_hcl_type(const struct option_row *option)
{
    assert(option->type < OPTION_TYPE_MAX);
    return hcl_types[option->type];
}

const struct option_row *option_find(const struct option_row *options, const char *key,
                                     size_t n_bytes)
{
    for (const struct option_row *option = options; option->key != NULL; option++)
        if (strlen(option->key) == n_bytes && memcmp(option->key, key, n_bytes) == 0)
            return option;
    return NULL;
}

static void *field(const struct option_row *option, void *base)
{
    return (char *)base + option->offset;
}

bool *option_bool(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_BOOL);
    return field(option, base);
}

enum tristate *option_tristate(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_TRISTATE);
    return field(option, base);
}

char **option_string(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_STRING);
    return field(option, base);
}

struct strv *option_string_list(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_STRING_LIST);
    return field(option, base);
}

struct pairs *option_map(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_STRING_MAP || option->type == OPTION_TYPE_NUMBER_MAP);
    return field(option, base);
}

void **option_block(const struct option_row *option, void *base)
{
    assert(option->type == OPTION_TYPE_BLOCK);
    return field(option, base);
}

static bool schema_bool(const struct option_row *option)
{
    assert(option->schema_default != NULL);
    return strcmp(option->schema_default, "true") == 0;
}

/* The content of a HCL string literal; the tables have no escapes in theirs. */
static char *schema_string(const struct option_row *option)
{
    const char *literal = option->schema_default;
    size_t n = strlen(literal);

    assert(n >= 2 && literal[0] == '"' && literal[n - 1] == '"' && strchr(literal, '\\') == NULL);
    return alloc_strndup(literal + 1, n - 2);
}

void options_init(const struct option_row *options, void *base)
{
    for (const struct option_row *option = options; option->key != NULL; option++)
        if (option->type == OPTION_TYPE_BOOL)
            *option_bool(option, base) = schema_bool(option);
        else if (option->schema_default != NULL)
            *option_string(option, base) = schema_string(option);
}

bool option_is_set(const struct option_row *option, void *base)
{
    switch (option->type) {
    case OPTION_TYPE_BOOL:
        return *option_bool(option, base) != schema_bool(option);
    case OPTION_TYPE_TRISTATE:
        return *option_tristate(option, base) != TRISTATE_UNSET;
    case OPTION_TYPE_STRING:
        return *option_string(option, base) != NULL;
    case OPTION_TYPE_STRING_LIST:
        return option_string_list(option, base)->n_items > 0;
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        return option_map(option, base)->n_items > 0;
    case OPTION_TYPE_BLOCK:
        return *option_block(option, base) != NULL;
    case OPTION_TYPE_MAX:
        break;
    }
    assert(false && "an option row without a type");
    return false;
}

static void field_done(const struct option_row *option, void *base)
{
    switch (option->type) {
    case OPTION_TYPE_STRING:
        free(*option_string(option, base));
        *option_string(option, base) = NULL;
        break;
    case OPTION_TYPE_STRING_LIST:
        strv_done(option_string_list(option, base));
        break;
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        pairs_done(option_map(option, base));
        break;
    case OPTION_TYPE_BLOCK: {
        void **block = option_block(option, base);
        if (*block != NULL)
            options_done(option->nested, *block);
        free(*block);
        *block = NULL;
        break;
    }
    case OPTION_TYPE_BOOL:
        *option_bool(option, base) = false;
        break;
    case OPTION_TYPE_TRISTATE:
        *option_tristate(option, base) = TRISTATE_UNSET;
        break;
    case OPTION_TYPE_MAX:
        assert(false && "an option row without a type");
    }
}

void options_done(const struct option_row *options, void *base)
{
    for (const struct option_row *option = options; option->key != NULL; option++)
        field_done(option, base);
}
