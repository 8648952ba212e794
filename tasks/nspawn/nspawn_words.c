#include "tasks/nspawn/nspawn_words.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "reactor/alloc.h"

/* --- what it says ---------------------------------------------------------------------------- */

/* inner_child() of nspawn.c: "execv(/x) failed: No such file or directory". */
#define EXEC_BEGIN  "execv("
#define EXEC_REASON ") failed: "

/* nspawn_dispatch_notify_fd() of nspawn.c puts it before what PID 1 inside says. Its own statuses
 * are "Container running." and the like. */
#define INNER_STATUS "Container running: "

/* What is wrong nspawn knows; what to write in the job it can't. */
static const struct {
    const char *phrase, *remedy;
} remedies[] = {
    { "is currently busy", /* run() of nspawn.c: "Directory tree /x is currently busy." */
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

bool nspawn_words_exec_failure(const char *line, char **ret_command, const char **ret_reason)
{
    const char *begin = strstr(line, EXEC_BEGIN);
    const char *reason = begin != NULL ? strstr(begin, EXEC_REASON) : NULL;

    if (reason == NULL)
        return false;
    begin += strlen(EXEC_BEGIN);
    *ret_command = alloc_strndup(begin, (size_t)(reason - begin));
    *ret_reason = reason + strlen(EXEC_REASON);
    return true;
}

const char *nspawn_words_inner_status(const char *status)
{
    size_t n = strlen(INNER_STATUS);

    return strncmp(status, INNER_STATUS, n) == 0 && status[n] != '\0' ? status + n : NULL;
}

/* --- what is said to it ---------------------------------------------------------------------- */

void nspawn_words_environment(const char *notify_socket, bool has_filters, struct strv *ret)
{
    strv_printf(ret, "NOTIFY_SOCKET=%s", notify_socket); /* sd_notify(3) */
    /* Else an image without systemd gets cgroup v1 mounts
     * (detect_unified_cgroup_hierarchy_from_image() of nspawn.c). */
    strv_push(ret, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1");
    if (has_filters)
        strv_push(ret, "SYSTEMD_SECCOMP=0"); /* is_seccomp_available() of seccomp-util.c */
    /* It writes where the task writes. Less than an error (how it shortened an interface's name, a
     * warning at every start) has no place in the task's log. log_parse_environment() of log.c. */
    strv_push(ret, "SYSTEMD_LOG_LEVEL=err");
}
