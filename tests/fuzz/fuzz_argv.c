/* Any values for options and for what the driver decides, past msgpack: what the checks let through
 * is a command line that says what was meant, and an environment that says no more. */
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/nspawn_settings.h"
#include "tests/fuzz/command_line.h"
#include "tests/fuzz/input.h"

static void take_option(struct input *input, const struct option_row *option, void *base)
{
    switch (option->type) {
    case OPTION_TYPE_BOOL:
        *option_bool(option, base) = input_u8(input) % 2 == 1;
        break;
    case OPTION_TYPE_TRISTATE:
        *option_tristate(option, base) = (enum tristate)(input_u8(input) % TRISTATE_MAX);
        break;
    case OPTION_TYPE_STRING:
        free(*option_string(option, base)); /* a default */
        *option_string(option, base) = input_optional(input);
        break;
    case OPTION_TYPE_STRING_LIST:
        input_texts(input, option_string_list(option, base));
        break;
    case OPTION_TYPE_STRING_MAP:
    case OPTION_TYPE_NUMBER_MAP:
        input_pairs(input, option_map(option, base));
        break;
    default:
        break; /* a block is none of nspawn's */
    }
}

/* Which options are there comes first, so that few of them need few bytes. */
static void take_config(struct input *input, struct task_options *config)
{
    uint64_t set = input_number(input, 5);

    options_init(task_option_rows, config);
    for (const struct option_row *option = task_option_rows; option->key != NULL;
         option++, set >>= 1)
        if ((set & 1) != 0)
            take_option(input, option, config);
}

/* As the driver gives it: no longer than the kernel takes. */
static void cut(char *text)
{
    if (text != NULL && strlen(text) >= TASK_OPTIONS_CHECK_PATH_BYTES_MAX)
        text[TASK_OPTIONS_CHECK_PATH_BYTES_MAX - 1] = '\0';
}

/* An absolute path, of the driver's. */
static char *take_path(struct input *input)
{
    CLEANUP_FREE char *text = input_text(input);

    cut(text);
    return alloc_printf("/%s", text);
}

static void take_binds(struct input *input, struct binds *binds)
{
    for (unsigned n = input_u8(input) % 5; n > 0; n--) {
        CLEANUP_FREE char *source = take_path(input), *target = take_path(input);
        uint8_t how = input_u8(input);

        (void)binds_add(binds, (enum bind_owner)(how >> 4) % BIND_OWNER_MAX, source, target,
                        (struct bind_how){
                            .read_only = (how & 1) != 0,
                            .without_submounts = (how & 2) != 0,
                            .map = (enum bind_map)((how >> 2) % BIND_MAP_MAX),
                        },
                        NULL);
    }
}

static void check_settings(const struct task_options *config, struct input *input)
{
    CLEANUP(pairs_done) struct pairs nomad = {}, merged = {};
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *text = NULL;

    input_pairs(input, &nomad);
    nspawn_settings_merge(&config->environment, &nomad, &merged);
    MUST(merged.n_items <= config->environment.n_items + nomad.n_items);
    if (nspawn_settings_format(&merged, &text, &fail) < 0)
        return;
    MUST(strncmp(text, "[Exec]\n", 7) == 0);
    /* A line each: nothing that is in a value becomes a setting of its own. */
    size_t n_lines = 0;
    for (const char *line = strchr(text, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        MUST(strncmp(line, "Environment=", 12) == 0);
        n_lines++;
    }
    MUST(n_lines == merged.n_items);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *user = input_optional(&input), *image = take_path(&input);
    CLEANUP_FREE char *private_users = input_optional(&input);
    struct nspawn_run run = { .machine = "web-1", .image = image, .private_users = private_users };

    cut(private_users);
    take_binds(&input, &run.binds);
    take_config(&input, &config);
    int r = task_options_check(&config, user, &fail);
    MUST(r <= 0 && (r < 0) == (fail.message != NULL));
    if (r == 0) {
        bool is_group = private_users != NULL && private_users[0] == 'n';
        run.network = is_group ? NETWORK_GROUP : network_kind_of(&config);
        command_line_check(&config, &run);
        check_settings(&config, &input);
    }
    binds_done(&run.binds);
    task_options_done(&config);
    return 0;
}
