#include "rpc/nomad/convert.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/utf8.h"

#define USEC_PER_SEC UINT64_C(1000000)

/* Seconds from year 1, Go's zero time, to 1970. */
#define ZERO_TIME_SECONDS INT64_C(-62135596800)

uint64_t convert_duration_usec(const Google__Protobuf__Duration *duration)
{
    if (duration == NULL || duration->seconds < 0 || duration->nanos < 0)
        return 0;
    if (duration->seconds >= (int64_t)(CONVERT_DURATION_USEC_MAX / USEC_PER_SEC))
        return CONVERT_DURATION_USEC_MAX;
    return (uint64_t)duration->seconds * USEC_PER_SEC + (uint64_t)duration->nanos / 1000;
}

void convert_timestamp(uint64_t usec, Google__Protobuf__Timestamp *ret)
{
    *ret = (Google__Protobuf__Timestamp)GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    if (usec == 0) {
        ret->seconds = ZERO_TIME_SECONDS;
        return;
    }
    ret->seconds = (int64_t)(usec / USEC_PER_SEC);
    ret->nanos = (int32_t)(usec % USEC_PER_SEC) * 1000;
}

void convert_exit(const struct task_exit *exit, Nomad__ExitResult *ret)
{
    *ret = (Nomad__ExitResult)NOMAD__EXIT_RESULT__INIT;
    ret->exit_code = exit->exit_code;
    ret->signal = exit->signal;
    ret->oom_killed = exit->oom_killed;
}

Nomad__TaskState convert_phase(enum task_phase phase)
{
    static const Nomad__TaskState states[TASK_PHASE_MAX] = {
        [TASK_PHASE_UNKNOWN] = NOMAD__TASK_STATE__UNKNOWN,
        [TASK_PHASE_RUNNING] = NOMAD__TASK_STATE__RUNNING,
        [TASK_PHASE_EXITED] = NOMAD__TASK_STATE__EXITED,
    };

    assert(phase < TASK_PHASE_MAX);
    return states[phase];
}

const char *convert_text(struct strv *texts, const char *text)
{
    if (text == NULL)
        return "";
    if (utf8_is_valid(text, strlen(text)))
        return text;
    strv_push_owned(texts, utf8_clean(text));
    return texts->items[texts->n_items - 1];
}

int convert_path(const char *what, const char *path, char **ret, struct fail *reterr)
{
    if (path == NULL || path[0] == '\0')
        return 0;
    if (strlen(path) > CONVERT_PATH_BYTES_MAX)
        return fail_set(reterr, -E2BIG, "%s has %zu bytes, at most %d are taken", what,
                        strlen(path), CONVERT_PATH_BYTES_MAX);
    if (path[0] != '/')
        return fail_set(reterr, -EINVAL, "%s '%s': expected an absolute path", what, path);
    *ret = alloc_strdup(path);
    return 0;
}
