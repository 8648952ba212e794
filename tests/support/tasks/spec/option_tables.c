#include "tests/support/tasks/spec/option_tables.h"

#include <string.h>

#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"

#define TABLES_MAX 8

static struct option_table tables[TABLES_MAX + 1];
static size_t n_tables;

static void add(const struct option_table *table)
{
    if (n_tables < TABLES_MAX)
        tables[n_tables++] = *table;
    for (const struct option_row *option = table->options; option->key != NULL; option++)
        if (option->type == OPTION_TYPE_BLOCK)
            add(&(struct option_table){
                    .name = option->key,
                    .options = option->nested,
                    .struct_size = option->nested_size,
                    .required = strcmp(option->key, "image_download") == 0 ? "'url': 'x'" : "",
            });
}

const struct option_table *option_tables(void)
{
    if (n_tables == 0) {
        add(&(struct option_table){ "task", task_option_rows, sizeof(struct task_options),
                                    "'image': 'x'" });
        add(&(struct option_table){ "plugin", plugin_options, sizeof(struct plugin_config), "" });
    }
    return tables;
}
