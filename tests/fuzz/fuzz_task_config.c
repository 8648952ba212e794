/* The config block of a job's task as Nomad sends it: msgpack through the option table, the checks,
 * and into the command line. Before it, the task's own `user` as a text. */
#include <stdlib.h>

#include "reactor/cleanup.h"
#include "tests/fuzz/command_line.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *user = input_optional(&input);
    struct nspawn_run run = { .machine = "web-1", .image = "/images/web", .private_users = "pick" };

    int r = task_options_decode(&config, input.bytes, input.n, &fail);
    if (r >= 0)
        r = task_options_check(&config, user, &fail);
    MUST(r <= 0 && (r < 0) == (fail.message != NULL));
    if (r == 0)
        command_line_check(&config, &run);
    task_options_done(&config);
    return 0;
}
