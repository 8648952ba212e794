#include "tasks/nspawn/nspawn_words.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* What is wrong nspawn knows; what to write in the job it can't. */
static const struct {
    const char *phrase, *remedy;
} remedies[] = {
    { "is currently busy",
      "another container runs from it: set ephemeral = true, or read_only = true in both" },
};

static const char *find_remedy(const char *line)
{
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
        if (strstr(line, remedies[i].phrase) != NULL)
            return remedies[i].remedy;
    return NULL;
}

/* The remedy goes on where the sentence ended. */
static int set_line(const char *line, struct fail *reterr)
{
    const char *remedy = find_remedy(line);
    size_t n = strlen(line);

    if (remedy == NULL)
        return fail_set(reterr, -EIO, "systemd-nspawn: %s", line);
    if (n > 0 && line[n - 1] == '.')
        n--;
    return fail_set(reterr, -EIO, "systemd-nspawn: %.*s; %s", (int)n, line, remedy);
}

int nspawn_words_start_failure(const char *line, const struct unit_state *unit, struct fail *reterr)
{
    if (line != NULL)
        return set_line(line, reterr);
    return fail_set(reterr, -EIO,
                    "systemd-nspawn ended before the container started (%s %d, result %s)",
                    unit->exit_code == CLD_EXITED ? "status" : "signal", unit->exit_status,
                    unit->result);
}
