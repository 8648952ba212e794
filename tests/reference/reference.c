/* Prints examples/OPTIONS.md, the reference of all options, from the option tables: `update`. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"

/* As the other documents, which are read as text as well. */
#define REFERENCE_COLUMNS 100

/* --- a list item ----------------------------------------------------------------------------- */

/* A line break inside of `code` would show as a blank, but reads badly as text: it is one word. */
static size_t word_bytes(const char *text)
{
    bool is_code = false;
    size_t n = 0;

    for (; text[n] != '\0' && (is_code || text[n] != ' '); n++)
        is_code ^= text[n] == '`';
    return n;
}

static void print_item(int indent, const char *text)
{
    int column = printf("%*s-", indent, "");

    while (*text != '\0') {
        int n = (int)word_bytes(text);
        if (column + 1 + n > REFERENCE_COLUMNS)
            column = printf("\n%*s", indent + 1, "") - 1;
        column += printf(" %.*s", n, text);
        text += n;
        text += strspn(text, " ");
    }
    printf("\n");
}

/* --- what a row says ------------------------------------------------------------------------- */

/* A value is code; a sentence about several brings its own marks. */
static void push_default(struct strv *facts, const struct option_row *option)
{
    const char *value = option->schema_default != NULL ? option->schema_default : option->fallback;

    if (value != NULL)
        strv_printf(facts, strchr(value, ' ') == NULL ? "default `%s`" : "default: %s", value);
}

static void push_argument(struct strv *facts, const struct option_row *option)
{
    if (option->argument != NULL)
        strv_printf(facts, "`%.*s`", (int)strcspn(option->argument, "%"), option->argument);
}

static char *facts_of(const struct option_row *option)
{
    CLEANUP(strv_done) struct strv facts = {};

    strv_push(&facts, option->type == OPTION_TYPE_BLOCK ? "block" : option_hcl_type(option));
    if (option->required)
        strv_push(&facts, "required");
    push_default(&facts, option);
    push_argument(&facts, option);
    return strv_join(&facts, "; ");
}

static char *choices_of(const struct option_row *option)
{
    CLEANUP(strv_done) struct strv choices = {};

    if (option->choices == NULL)
        return alloc_strdup("");
    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        strv_printf(&choices, "`%s`", *choice);
    CLEANUP_FREE char *list = strv_join(&choices, ", ");
    return alloc_printf(" One of %s.", list);
}

static void print_option(int indent, const struct option_row *option)
{
    CLEANUP_FREE char *facts = facts_of(option);
    CLEANUP_FREE char *choices = choices_of(option);
    CLEANUP_FREE char *remedy = option->missing != NULL
                                        ? alloc_printf(" Until then: %s.", option->missing)
                                        : alloc_strdup("");
    CLEANUP_FREE char *text = alloc_printf("**`%s`** (%s): %s%s%s", option->key, facts,
                                           option->help, choices, remedy);

    print_item(indent, text);
    if (option->nested != NULL)
        for (const struct option_row *inner = option->nested; inner->key != NULL; inner++)
            print_option(indent + 2, inner);
}

static void print_options(const struct option_row *options, bool missing)
{
    for (const struct option_row *option = options; option->key != NULL; option++)
        if ((option->missing != NULL) == missing)
            print_option(0, option);
}

static const char head[] =
    "<!-- Written by `make reference` from the option tables; not to be edited by hand. -->\n"
    "\n"
    "# Options\n"
    "\n"
    "In parentheses: type, default, and the option of systemd-nspawn that it becomes.\n"
    "`list(map(...))` is written as a map: `environment = { NAME = \"value\" }`,\n"
    "`bind = { \"/on/the/host\" = \"/inside\" }`. How options work together is told in\n"
    "[What to know when writing jobs](README.md#what-to-know-when-writing-jobs) and\n"
    "[Networks](README.md#networks).\n"
    "\n";

int main(void)
{
    printf("%s## Options of a task (`config` of a `task`)\n\n", head);
    print_options(task_option_rows, false);
    printf("\n## Options of a task that are known, but not built yet\n\n"
           "A job that has one of these is understood; when it asks for anything but the default, "
           "the task\n"
           "fails with a message that names the option.\n\n");
    print_options(task_option_rows, true);
    printf("\n## Options of the agent (`config` of the `plugin` block)\n\n");
    print_options(plugin_options, false);
    return ferror(stdout) || fflush(stdout) == EOF ? EXIT_FAILURE : EXIT_SUCCESS;
}
