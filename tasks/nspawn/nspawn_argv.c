#include "tasks/nspawn/nspawn_argv.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_link.h"

static const char *const map_options[BIND_MAP_MAX] = {
    [BIND_MAP_IDMAP] = "idmap",
    [BIND_MAP_ROOTIDMAP] = "rootidmap",
};

/* nspawn splits at ':' and takes a backslash before any character away. */
static char *escape_path(const char *path)
{
    char *escaped = alloc_zero(2 * strlen(path) + 1, 1), *to = escaped;

    for (const char *c = path; *c != '\0'; c++) {
        if (*c == ':' || *c == '\\')
            *to++ = '\\';
        *to++ = *c;
    }
    return escaped;
}

static void push_bind(const char *source, const char *target, struct bind_how how,
                      struct strv *argv)
{
    CLEANUP_FREE char *escaped_source = escape_path(source);
    CLEANUP_FREE char *escaped_target = escape_path(target);
    struct strv options = {};

    assert(source[0] == '/' && target[0] == '/' && how.map < BIND_MAP_MAX);
    if (how.without_submounts)
        strv_push(&options, "norbind");
    if (map_options[how.map] != NULL)
        strv_push(&options, map_options[how.map]);
    CLEANUP_FREE char *joined = strv_join(&options, ",");
    strv_printf(argv, "--bind%s=%s:%s%s%s", how.read_only ? "-ro" : "", escaped_source,
                escaped_target, options.n_items > 0 ? ":" : "", joined);
    strv_done(&options);
}

static void push_binds(const struct binds *binds, struct strv *argv)
{
    for (size_t i = 0; i < binds->n_items; i++)
        push_bind(binds->items[i].source, binds->items[i].target, binds->items[i].how, argv);
}

/* "--user=%s" and a value; formats from a table can't be given to printf. */
static void push_value(const char *argument, const char *value, struct strv *argv)
{
    size_t n = strlen(argument) - strlen("%s");

    assert(strcmp(argument + n, "%s") == 0);
    strv_printf(argv, "%.*s%s", (int)n, argument, value);
}

static void push_list(const char *argument, const struct strv *list, struct strv *argv)
{
    CLEANUP_FREE char *joined = strv_join(list, ",");

    push_value(argument, joined, argv);
}

/* The options whose row says it all. */
static void push_option(const struct option_row *option, struct task_options *config,
                        struct strv *argv)
{
    if (option->argument == NULL || !option_is_set(option, config))
        return;
    if (option->type == OPTION_TYPE_TRISTATE && *option_tristate(option, config) == TRISTATE_YES)
        strv_push(argv, option->argument);
    if (option->type == OPTION_TYPE_STRING)
        push_value(option->argument, *option_string(option, config), argv);
    if (option->type == OPTION_TYPE_STRING_LIST)
        push_list(option->argument, option_string_list(option, config), argv);
}

/* Borrowed: where the driver decided otherwise, the rows shall act on that. */
static struct task_options decide(const struct task_options *config, const struct nspawn_run *run)
{
    struct task_options decided = *config;

    if (config->boot == TRISTATE_NO)
        decided.working_directory = NULL; /* our init goes there */
    if (run->resolv_conf != NULL)
        decided.resolv_conf = (char *)(uintptr_t)run->resolv_conf;
    return decided;
}

static void push_options(const struct task_options *config, const struct nspawn_run *run,
                         struct strv *argv)
{
    struct task_options decided = decide(config, run);

    for (const struct option_row *option = task_option_rows; option->key != NULL; option++)
        if (!network_kind_has_option(option))
            push_option(option, &decided, argv);
}

static void push_network(const struct task_options *config, const struct nspawn_run *run,
                         struct strv *argv)
{
    CLEANUP_FREE char *argument = network_kind_argument(run->network, config);

    assert(run->veth == NULL || network_kinds[run->network].is_pair);
    if (run->veth != NULL)
        strv_printf(argv, "--network-veth-extra=%s:%s", run->veth,
                    network_kinds[run->network].link);
    else if (argument != NULL)
        strv_push(argv, argument);
}

static void push_user_namespace(const struct nspawn_run *run, struct strv *argv)
{
    if (run->private_users == NULL)
        return;
    strv_printf(argv, "--private-users=%s", run->private_users);
    strv_printf(argv, "--private-users-ownership=%s",
                run->private_users_ownership != NULL ? run->private_users_ownership : "auto");
}

void nspawn_argv(const struct task_options *config, const struct nspawn_run *run, struct strv *argv)
{
    assert(config->boot != TRISTATE_UNSET && config->process_two != TRISTATE_UNSET);
    assert(!(config->boot == TRISTATE_YES && config->process_two == TRISTATE_YES));
    assert(config->boot == TRISTATE_YES || config->command.n_items > 0);

    strv_push(argv, NSPAWN_ARGV_PROGRAM);
    strv_push(argv, "--quiet");
    strv_push(argv, "--keep-unit");
    if (config->boot == TRISTATE_YES) {
        strv_push(argv, "--settings=override"); /* the environment; see nspawn_settings */
    } else {
        strv_push(argv, "--settings=no");
        strv_push(argv, "--kill-signal=SIGTERM"); /* at `systemctl stop`; our init passes it on */
    }
    strv_printf(argv, "--machine=%s", run->machine);
    strv_printf(argv, "--directory=%s", run->image);
    push_options(config, run, argv);
    push_network(config, run, argv);
    push_user_namespace(run, argv);
    push_binds(&run->binds, argv);
    strv_push(argv, "--");
    if (config->boot == TRISTATE_YES)
        strv_copy(argv, &config->command);
    else
        strv_push(argv, INSIDE_LINK_INIT);
}
