#include "tests/fuzz/command_line.h"

#include <stdbool.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_link.h"
#include "tests/fuzz/input.h"

/* Colons that nspawn splits at: those without a backslash before them. */
static size_t n_colons(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            MUST(text[1] != '\0');
            text++;
        } else if (*text == ':') {
            n++;
        }
    }
    return n;
}

static bool begins(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

/* A booted system's arguments are the init's of the image; a command reaches ours another way. */
static void check_command(const struct task_options *config, char *const *words, size_t n)
{
    if (config->boot != TRISTATE_YES) {
        MUST(n == 1 && strcmp(words[0], INSIDE_LINK_INIT) == 0);
        return;
    }
    MUST(n == config->command.n_items);
    for (size_t i = 0; i < n; i++)
        MUST(strcmp(words[i], config->command.items[i]) == 0);
}

/* Ours come before "--"; nothing that a job says is taken for one of nspawn's own, and nothing in
 * a path for a part of its own. */
void command_line_check(const struct task_options *config, const struct nspawn_run *run)
{
    CLEANUP(strv_done) struct strv argv = {};
    size_t i = 1, n_binds = 0;

    nspawn_argv(config, run, &argv);
    MUST(strcmp(argv.items[0], NSPAWN_ARGV_PROGRAM) == 0);
    for (; strcmp(argv.items[i], "--") != 0; i++) {
        MUST(begins(argv.items[i], "--"));
        MUST(strlen(argv.items[i]) <= TASK_OPTIONS_CHECK_ARGUMENT_BYTES_MAX);
        if (!begins(argv.items[i], "--bind"))
            continue;
        size_t n = n_colons(argv.items[i]);
        MUST(n == 1 || n == 2);
        n_binds++;
    }
    MUST(n_binds == run->binds.n_items);
    check_command(config, argv.items + i + 1, argv.n_items - (i + 1));
}
