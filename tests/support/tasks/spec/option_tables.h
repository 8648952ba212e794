/* All option tables that there are, for tests that walk every row. */
#pragma once

#include <stddef.h>

#include "tasks/spec/option.h"

struct option_table {
    const char *name;
    const struct option_row *options;
    size_t struct_size;
    const char *required; /* JSON (see pack.h) of entries without which nothing is decoded, or "" */
};

/* Ends with an empty one. */
const struct option_table *option_tables(void);
