/* One row describes one option of a job's or the agent's configuration. From it come the schema
 * that Nomad gets (rpc/convert), the decoding (option_decode), the argument for systemd-nspawn
 * (nspawn_argv) and the reference, examples/OPTIONS.md (tests/reference): none of them is ever
 * written by hand.
 *
 * A table is an array of rows that ends with an empty one; it describes one C struct, whose fields
 * have the names of the options. The row macros check the field's type at compile time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reactor/strv.h"

/* A bool of which it is known whether the author wrote it. Options that exclude each other are of
 * this type and have no schema default: what the author wrote could not be told from it. */
enum tristate { TRISTATE_UNSET, TRISTATE_NO, TRISTATE_YES, TRISTATE_MAX };

enum option_type {
    OPTION_TYPE_BOOL,        /* bool; `schema_default` is required */
    OPTION_TYPE_TRISTATE,    /* enum tristate */
    OPTION_TYPE_STRING,      /* char *, NULL: unset */
    OPTION_TYPE_STRING_LIST, /* struct strv */
    OPTION_TYPE_STRING_MAP,  /* struct pairs; a HCL block or map, which arrives as a list of maps */
    OPTION_TYPE_NUMBER_MAP,  /* struct pairs with integers as decimal text */
    OPTION_TYPE_BLOCK,       /* pointer to a struct that `nested` describes, NULL: no such block */
    OPTION_TYPE_MAX
};

struct option_row {
    const char *key; /* NULL ends a table */
    enum option_type type;
    size_t offset; /* of the field in the struct */
    bool required;
    /* HCL literal, as the schema says it ("true", "\"tar\""); NULL: none. */
    const char *schema_default;
    /* What we take when it is unset: a tristate's value ("true", "false"), for the others text for
     * the reference; NULL: nothing. */
    const char *fallback;
    /* For nspawn: "--boot" for a true bool, "--user=%s" for a string or a list (with commas).
     * NULL: the option acts in another way. */
    const char *argument;
    /* Not NULL: not built yet. Using the option with anything but its `fallback` is refused by
     * name, with this as the remedy. */
    const char *missing;
    const char *const *choices; /* the values allowed, NULL-terminated; NULL: any */
    bool multiline; /* newlines and tabs are allowed; other control characters never are */
    const char *help; /* one line of Markdown for the reference */
    /* Of a block: the table of its struct, and the struct's size. */
    const struct option_row *nested;
    size_t nested_size;
};

/* The type as hclspec's Attr.type says it: "bool", "string", "list(string)", "list(map(string))",
 * "list(map(number))". NULL for a block, whose schema is made of its nested rows. */
const char *option_hcl_type(const struct option_row *option);
/* NULL when there is no such key. */
const struct option_row *option_find(const struct option_row *options, const char *key,
                                     size_t n_bytes);

/* The field of `base`, a struct that the option's table describes; the type must be the
 * option's. */
bool *option_bool(const struct option_row *option, void *base);
enum tristate *option_tristate(const struct option_row *option, void *base);
char **option_string(const struct option_row *option, void *base);
struct strv *option_string_list(const struct option_row *option, void *base);
struct pairs *option_map(const struct option_row *option, void *base);
void **option_block(const struct option_row *option, void *base);

/* Whether the field holds anything but its zero value (for a bool: but its schema default). */
bool option_is_set(const struct option_row *option, void *base);

/* Fills a zero-filled struct with the schema's defaults. */
void options_init(const struct option_row *options, void *base);
/* Frees what the fields own; the struct is zero-filled afterwards as far as the table reaches. */
void options_done(const struct option_row *options, void *base);

/* --- rows ------------------------------------------------------------------------------------ */

/* offsetof, and a compile error when the field is not of the type. */
#define OPTION_FIELD(struct_, field, type_)                                                     \
    (offsetof(struct_, field) +                                                                 \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct_ *)NULL)->field), type_)  \
                             ? 1                                                                \
                             : -1]))

#define OPTION_ROW(type_, key_, struct_, field, c_type) \
    .key = (key_), .type = (type_), .offset = OPTION_FIELD(struct_, field, c_type)

#define OPTION_BOOL(s, f)        OPTION_ROW(OPTION_TYPE_BOOL, #f, s, f, bool)
#define OPTION_TRISTATE(s, f)    OPTION_ROW(OPTION_TYPE_TRISTATE, #f, s, f, enum tristate)
#define OPTION_STRING(s, f)      OPTION_ROW(OPTION_TYPE_STRING, #f, s, f, char *)
/* For an option whose name can't be a field's. */
#define OPTION_STRING_NAMED(key_, s, f) OPTION_ROW(OPTION_TYPE_STRING, key_, s, f, char *)
#define OPTION_STRING_LIST(s, f) OPTION_ROW(OPTION_TYPE_STRING_LIST, #f, s, f, struct strv)
#define OPTION_STRING_MAP(s, f)  OPTION_ROW(OPTION_TYPE_STRING_MAP, #f, s, f, struct pairs)
#define OPTION_NUMBER_MAP(s, f)  OPTION_ROW(OPTION_TYPE_NUMBER_MAP, #f, s, f, struct pairs)
#define OPTION_BLOCK(s, f, block, table)                                  \
    OPTION_ROW(OPTION_TYPE_BLOCK, #f, s, f, block *), .nested = (table), \
            .nested_size = sizeof(block)
