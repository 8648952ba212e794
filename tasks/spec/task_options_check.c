#include "tasks/spec/task_options_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "tasks/spec/capability_name.h"
#include "tasks/spec/machine_name.h"
#include "tasks/spec/network_kind.h"

static bool equals(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* --- every row: choices, lengths, what is not built ------------------------------------------ */

static int check_choice(const struct option_row *option, struct task_options *config,
                        struct fail *reterr)
{
    const char *value = *option_string(option, config);
    CLEANUP(strv_done) struct strv choices = {};

    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (strcmp(*choice, value) == 0)
            return 0;
        strv_push(&choices, *choice);
    }
    CLEANUP_FREE char *list = strv_join(&choices, ", ");
    return fail_set(reterr, -EINVAL, "option '%s': '%s' is not a value of it; choose one of %s",
                    option->key, value, list);
}

/* A value that means what we do anyway needs no refusal. */
static bool is_fallback(const struct option_row *option, struct task_options *config)
{
    return option->type == OPTION_TYPE_STRING &&
           equals(*option_string(option, config), option->fallback);
}

static int check_length(const struct option_row *option, struct task_options *config,
                        struct fail *reterr)
{
    size_t n_bytes = strlen(*option_string(option, config));

    if (n_bytes > TASK_OPTIONS_CHECK_PATH_BYTES_MAX)
        return fail_set(reterr, -EINVAL,
                        "option '%s': %zu bytes are too long; at most %d are taken", option->key,
                        n_bytes, TASK_OPTIONS_CHECK_PATH_BYTES_MAX);
    return 0;
}

static int check_row(const struct option_row *option, struct task_options *config,
                     struct fail *reterr)
{
    if (!option_is_set(option, config))
        return 0;
    if (option->type == OPTION_TYPE_STRING) {
        int r = check_length(option, config, reterr);
        if (r < 0)
            return r;
        if (option->choices != NULL)
            r = check_choice(option, config, reterr);
        if (r < 0)
            return r;
    }
    if (option->missing != NULL && !is_fallback(option, config))
        return fail_set(reterr, -EOPNOTSUPP, "option '%s' is not supported by this version: %s",
                        option->key, option->missing);
    return 0;
}

static int check_rows(struct task_options *config, struct fail *reterr)
{
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++) {
        int r = check_row(option, config, reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- single options -------------------------------------------------------------------------- */

static int check_image(struct task_options *config, struct fail *reterr)
{
    if (config->image == NULL)
        return fail_set(reterr, -EINVAL,
                        "option 'image' is missing: name a directory with an OS tree");
    if (config->image[strspn(config->image, "/")] == '\0' && config->ephemeral != TRISTATE_YES)
        return fail_set(reterr, -EINVAL,
                        "option 'image': '/' is the host's own root; add ephemeral = true to run "
                        "from a snapshot of it");
    return 0;
}

static int check_command(struct task_options *config, struct fail *reterr)
{
    const struct strv *command = &config->command;
    size_t n_bytes = 0;

    if (command->n_items == 0 && config->boot == TRISTATE_NO)
        return fail_set(reterr, -EINVAL,
                        "option 'command' is missing: boot = false needs a program to run");
    if (command->n_items > 0 && command->items[0][0] == '\0' && config->boot == TRISTATE_NO)
        return fail_set(reterr, -EINVAL,
                        "option 'command': the first item is empty; it must name a program");
    for (size_t i = 0; i < command->n_items; i++) {
        size_t n = strlen(command->items[i]);
        if (n > TASK_OPTIONS_CHECK_ARGUMENT_BYTES_MAX)
            return fail_set(
                reterr, -EINVAL,
                "option 'command': item %zu has %zu bytes, at most %zu are taken; use a "
                "template block to make it a file",
                i + 1, n, TASK_OPTIONS_CHECK_ARGUMENT_BYTES_MAX);
        n_bytes += n + 1;
    }
    if (n_bytes > TASK_OPTIONS_CHECK_COMMAND_BYTES_MAX)
        return fail_set(reterr, -EINVAL,
                        "option 'command': %zu bytes in all, at most %zu are taken; use a template "
                        "block to make it a file",
                        n_bytes, TASK_OPTIONS_CHECK_COMMAND_BYTES_MAX);
    return 0;
}

static int check_working_directory(struct task_options *config, struct fail *reterr)
{
    if (config->working_directory != NULL && config->working_directory[0] != '/')
        return fail_set(
            reterr, -EINVAL,
            "option 'working_directory': '%s' is relative; write the absolute path inside "
            "the container",
            config->working_directory);
    return 0;
}

/* Nomad's own `user` has not come through option_decode. */
static int check_user(struct task_options *config, struct fail *reterr)
{
    if (config->user == NULL)
        return 0;
    for (const char *c = config->user; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return fail_set(reterr, -EINVAL,
                            "user: the control character 0x%02x in the name; remove it",
                            (unsigned char)*c);
    if (!utf8_is_valid(config->user, strlen(config->user)))
        return fail_set(reterr, -EINVAL, "user: a name that is not UTF-8; remove the odd bytes");
    return 0;
}

static int check_hostname(struct task_options *config, struct fail *reterr)
{
    if (config->hostname != NULL && !machine_name_is_valid(config->hostname))
        return fail_set(
            reterr, -EINVAL,
            "option 'hostname': '%s' is not a host name; use letters, digits, '-' and "
            "'.', at most %d characters, each part beginning and ending with a letter or "
            "digit",
            config->hostname, MACHINE_NAME_BYTES_MAX);
    return 0;
}

static int check_capability(struct task_options *config, struct fail *reterr)
{
    for (size_t i = 0; i < config->capability.n_items; i++) {
        const char *name = config->capability.items[i];
        if (strcmp(name, "all") != 0 && !capability_name_is_valid(name))
            return fail_set(reterr, -EINVAL,
                            "option 'capability': '%s' is no capability; write a name like "
                            "CAP_NET_ADMIN (see capabilities(7)) or all",
                            name);
    }
    return 0;
}

/* --- binds ----------------------------------------------------------------------------------- */

static int check_bind_path(const char *option, const char *kind, const char *path,
                           struct fail *reterr)
{
    size_t n_bytes = strlen(path);

    if (n_bytes == 0)
        return fail_set(reterr, -EINVAL,
                        "option '%s': an empty %s; write \"/on/the/host\" = \"/inside\"", option,
                        kind);
    if (n_bytes > TASK_OPTIONS_CHECK_PATH_BYTES_MAX)
        return fail_set(reterr, -EINVAL, "option '%s': a %s of %zu bytes; at most %d are taken",
                        option, kind, n_bytes, TASK_OPTIONS_CHECK_PATH_BYTES_MAX);
    return 0;
}

static int check_bind(const char *option, const struct pair *bind, struct fail *reterr)
{
    const char *target = bind->value;
    int r = check_bind_path(option, "host path", bind->key, reterr);
    if (r < 0)
        return r;
    r = check_bind_path(option, "path inside", target, reterr);
    if (r < 0)
        return r;
    if (target[0] != '/')
        return fail_set(reterr, -EINVAL,
                        "option '%s': the path inside, '%s', is relative; write it absolute",
                        option, target);
    if (target[strspn(target, "/")] == '\0')
        return fail_set(
            reterr, -EINVAL,
            "option '%s': '%s' can't be bound over the root; name it as 'image' instead", option,
            bind->key);
    return 0;
}

static int check_bind_map(const char *option, const struct pairs *binds, struct fail *reterr)
{
    for (size_t i = 0; i < binds->n_items; i++) {
        int r = check_bind(option, &binds->items[i], reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_binds(struct task_options *config, struct fail *reterr)
{
    size_t n = config->bind.n_items + config->bind_read_only.n_items;

    int r = check_bind_map("bind", &config->bind, reterr);
    if (r >= 0)
        r = check_bind_map("bind_read_only", &config->bind_read_only, reterr);
    if (r >= 0 && n > TASK_OPTIONS_CHECK_BINDS_MAX)
        r = fail_set(reterr, -EINVAL,
                     "options 'bind' and 'bind_read_only': %zu binds, at most %d are taken; bind a "
                     "directory above several of them",
                     n, TASK_OPTIONS_CHECK_BINDS_MAX);
    return r;
}

/* --- combinations ---------------------------------------------------------------------------- */

static const char *boot_as_written(const struct task_options *config)
{
    return config->boot == TRISTATE_UNSET ? "boot, which is true unless written otherwise"
                                          : "boot = true";
}

static int check_boot(struct task_options *config, struct fail *reterr)
{
    if (config->boot == TRISTATE_NO)
        return 0;
    if (config->process_two == TRISTATE_YES)
        return fail_set(
            reterr, -EINVAL,
            "option 'process_two' = true excludes %s: add boot = false to run 'command', "
            "or remove process_two to boot the image",
            boot_as_written(config));
    /* Under another user than root no init gets far. */
    if (config->user != NULL && !equals(config->user, "root") && !equals(config->user, "0"))
        return fail_set(reterr, -EINVAL,
                        "user '%s' excludes %s: add boot = false to run 'command' as that user, or "
                        "remove user to boot the image",
                        config->user, boot_as_written(config));
    return 0;
}

/* --- network --------------------------------------------------------------------------------- */

/* What the kernel takes for the name of an interface, and nspawn for a part of one. */
static int check_interface(const char *option, const char *name, size_t n_max, struct fail *reterr)
{
    size_t n = name != NULL ? strlen(name) : 1;

    if (name == NULL)
        return 0;
    bool is_odd = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    for (const char *c = name; *c != '\0'; c++)
        is_odd = is_odd || (unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f ||
                 strchr("/:%\"\\", *c) != NULL;
    if (is_odd || n > n_max)
        return fail_set(reterr, -EINVAL,
                        "option '%s': '%s' is no name for it; at most %zu letters, digits, '-', "
                        "'_' and '.' are taken",
                        option, name, n_max);
    return 0;
}

static int check_network_names(struct task_options *config, struct fail *reterr)
{
    for (enum network_kind kind = 0; kind < NETWORK_KIND_MAX; kind++) {
        const struct network_kind_row *row = &network_kinds[kind];
        if (row->name_bytes_max == 0)
            continue;
        const struct option_row *option = option_find(task_option_rows, row->option,
                                                      strlen(row->option));
        int r = check_interface(row->option, *option_string(option, config), row->name_bytes_max,
                                reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Zones and bridges are reached by a virtual Ethernet link: `network_veth` says no more than they
 * do. */
static bool is_implied(enum network_kind first, enum network_kind kind)
{
    return kind == NETWORK_VETH && network_kinds[first].owner == NETWORK_OWNER_DRIVER;
}

static int check_network(struct task_options *config, struct fail *reterr)
{
    enum network_kind first = network_kind_of(config);

    for (enum network_kind kind = first + 1; kind < NETWORK_KIND_MAX; kind++)
        if (first != NETWORK_HOST && network_kind_is_chosen(kind, config) &&
            !is_implied(first, kind))
            return fail_set(reterr, -EINVAL,
                            "options '%s' and '%s' exclude each other: a container has one "
                            "network; remove one of them",
                            network_kinds[first].option, network_kinds[kind].option);
    return check_network_names(config, reterr);
}

static int (*const checks[])(struct task_options *config, struct fail *reterr) = {
    check_rows, check_image,    check_command,    check_working_directory,
    check_user, check_hostname, check_capability, check_binds,
    check_boot, check_network,
};

/* --- defaults -------------------------------------------------------------------------------- */

static void put_tristate(enum tristate *value, bool otherwise)
{
    if (*value == TRISTATE_UNSET)
        *value = otherwise ? TRISTATE_YES : TRISTATE_NO;
}

/* From the table, but for those that depend on others. */
static void put_defaults(struct task_options *config)
{
    put_tristate(&config->boot, true);
    put_tristate(&config->process_two, config->boot == TRISTATE_NO);
    if (config->boot == TRISTATE_YES) {
        free(config->user); /* root, which an init is anyway */
        config->user = NULL;
    }
    if (config->console == NULL)
        config->console = alloc_strdup(config->boot == TRISTATE_YES ? "read-only" : "pipe");
    for (const struct option_row *option = task_option_rows; option->key != NULL; option++)
        if (option->type == OPTION_TYPE_TRISTATE)
            put_tristate(option_tristate(option, config), equals(option->fallback, "true"));
}

int task_options_check(struct task_options *config, const char *task_user, struct fail *reterr)
{
    if (config->user == NULL && task_user != NULL && *task_user != '\0')
        config->user = alloc_strdup(task_user);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        int r = checks[i](config, reterr);
        if (r < 0)
            return r;
    }
    put_defaults(config);
    return 0;
}
