#include "tests/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* NULL: no such file. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;

    CLEANUP_FREE char *text = alloc_zero(1, 1);
    size_t n = 0, n_read;
    char block[4096];
    while ((n_read = fread(block, 1, sizeof(block), file)) > 0) {
        text = alloc_grow(text, n + n_read + 1, 1);
        memcpy(text + n, block, n_read);
        n += n_read;
        text[n] = '\0';
    }
    fclose(file);
    return TAKE_PTR(text);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        fail_msg("%s: could not be written", path);
}

void golden_compare(const char *name, const char *text)
{
    CLEANUP_FREE char *path = alloc_printf("tests/unit/golden/%s", name);

    if (getenv("GOLDEN_UPDATE") != NULL)
        write_file(path, text);

    CLEANUP_FREE char *expected = read_file(path);
    if (expected == NULL)
        fail_msg("%s: not there; GOLDEN_UPDATE=1 makes it", path);
    if (strcmp(expected, text) == 0)
        return;
    (void)fputs(text, stderr); /* the message would be cut */
    fail_msg("%s: not what the program says now, which is above (GOLDEN_UPDATE=1 takes it over)",
             path);
}
