#include "tasks/lifecycle/voice.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tasks/nspawn/notify.h"
#include "tasks/nspawn/nspawn_words.h"
#include "tasks/resources/oom.h"

struct voice {
    struct task *task;
    struct notify *notify;
    bool is_ready;             /* nspawn has set up the container */
    bool is_ready_told;        /* what runs inside has said that it is ready */
    char *status;              /* the newest that was not told */
    uint64_t status_told_usec; /* CLOCK_MONOTONIC */
    sd_event_source *status_timer;
    struct oom_watch *oom;
    sd_event_source *oom_survived;
};

/* --- what runs inside says of itself --------------------------------------------------------- */

/* Nomad keeps the last ten events of a task. */
#define STATUS_INTERVAL_USEC (30 * UINT64_C(1000000))

/* A status is a line for people. */
#define STATUS_BYTES_MAX 256

static void tell_status(struct voice *voice)
{
    CLEANUP_FREE char *text = TAKE_PTR(voice->status);
    struct pairs annotations = {};

    pairs_set(&annotations, "status", text);
    task_tell(voice->task, &annotations, "Status: %s", text);
    pairs_done(&annotations);
    voice->status_told_usec = clock_now_usec(CLOCK_MONOTONIC);
}

static int on_status_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct voice *voice = data;

    (void)source;
    (void)usec;
    voice->status_timer = sd_event_source_disable_unref(voice->status_timer);
    tell_status(voice);
    return 0;
}

static void note_status(struct voice *voice, const char *text)
{
    uint64_t due = voice->status_told_usec + STATUS_INTERVAL_USEC;

    free(voice->status);
    voice->status = alloc_strndup(text, strnlen(text, STATUS_BYTES_MAX));
    if (voice->status_told_usec == 0 || clock_now_usec(CLOCK_MONOTONIC) >= due) {
        tell_status(voice);
    } else if (voice->status_timer == NULL) {
        int r = sd_event_add_time(task_event_loop(voice->task), &voice->status_timer,
                                  CLOCK_MONOTONIC, due, 0, on_status_timer, voice);
        assert(r >= 0);
        (void)sd_event_source_set_description(voice->status_timer, "task-status");
    }
}

/* Once: systemd says it again after each reload. */
static void tell_ready(struct voice *voice)
{
    const struct task *task = voice->task;
    uint64_t now = clock_now_usec(CLOCK_REALTIME), started = task->unit.started_usec;
    struct pairs annotations = {};

    if (voice->is_ready_told)
        return;
    voice->is_ready_told = true;
    CLEANUP_FREE char *after = alloc_printf("%.1f s", started > 0 && now > started
                                                          ? (double)(now - started) / 1e6
                                                          : 0.0);
    pairs_set(&annotations, task->is_booted ? "boot_time" : "ready_after", after);
    task_tell(task, &annotations, task->is_booted ? "Booted in %s" : "Ready after %s", after);
    pairs_done(&annotations);
}

/* What nspawn says of itself has no prefix; of a booted system every step of its start would be
 * told, and "ready" is the one that counts. */
static void hear_status(struct voice *voice, const char *status)
{
    const struct task *task = voice->task;
    const char *inner = nspawn_words_inner_status(status);

    log_task_debug(task->spec.id, "nspawn: %s", status);
    if (!task->is_booted && inner != NULL)
        note_status(voice, inner);
}

/* The first READY is nspawn's own, any other is passed on. */
static void hear_ready(struct voice *voice)
{
    if (!voice->is_ready) {
        voice->is_ready = true;
        task_raise(voice->task, LIFECYCLE_READY, NULL);
    } else if (voice->task->state == TASK_STARTING || voice->task->state == TASK_RUNNING) {
        tell_ready(voice);
    }
}

/* The voice outlives what is raised in here: a start that has failed is cleared away from the
 * loop. */
static void on_notified(const struct notify_message *message, void *data)
{
    struct voice *voice = data;

    if (message->leader > 0) {
        task_note_leader(voice->task, message->leader);
        task_raise(voice->task, LIFECYCLE_LEADER, NULL);
    }
    if (message->status != NULL)
        hear_status(voice, message->status);
    if (message->ready)
        hear_ready(voice);
}

/* --- out of memory --------------------------------------------------------------------------- */

/* A task whose main process was the one has ended by then, and Nomad tells that itself. */
#define OOM_SURVIVED_USEC (1 * UINT64_C(1000000))

static int on_oom_survived(sd_event_source *source, uint64_t usec, void *data)
{
    const struct voice *voice = data;

    (void)source;
    (void)usec;
    task_tell(voice->task, NULL, "The kernel killed a process of the task: out of memory");
    return 0;
}

/* Told once, or a task that is killed piece by piece would push all else out of the few events that
 * Nomad keeps. */
static void on_oom_kill(uint64_t kills, void *data)
{
    struct voice *voice = data;

    (void)kills;
    voice->oom = oom_watch_free(voice->oom);
    int r = sd_event_add_time_relative(task_event_loop(voice->task), &voice->oom_survived,
                                       CLOCK_MONOTONIC, OOM_SURVIVED_USEC, 0, on_oom_survived,
                                       voice);
    assert(r >= 0);
    (void)sd_event_source_set_description(voice->oom_survived, "task-oom-survived");
}

void voice_follow_oom(struct voice *voice)
{
    const struct task *task = voice->task;
    CLEANUP_FREE char *path = task_cgroup_path(task);

    if (path == NULL)
        return;
    int r = oom_watch_new(task_event_loop(task), path, on_oom_kill, voice, &voice->oom);
    if (r < 0 && r != -ENOENT) /* without the memory controller nothing is limited, nor killed */
        log_task_debug(task->spec.id, "cannot watch '%s' for kills: %s", path, strerror(-r));
}

/* --- life ------------------------------------------------------------------------------------ */

int voice_new(struct task *task, bool is_recovered, struct voice **ret, struct fail *reterr)
{
    CLEANUP_FREE char *path = alloc_printf("%s/" RUNTIME_DIR_NOTIFY, runtime_dir_path(task->dir));
    struct voice *voice = ALLOC_NEW(struct voice);

    voice->task = task;
    voice->is_ready = voice->is_ready_told = is_recovered; /* told, or may have been */
    voice->notify = notify_new(task_event_loop(task), path, on_notified, voice, reterr);
    if (voice->notify == NULL) {
        voice_free(voice);
        return reterr->error;
    }
    *ret = voice;
    return 0;
}

void voice_receive(struct voice *voice)
{
    notify_receive(voice->notify);
}

bool voice_is_ready(const struct voice *voice)
{
    return voice->is_ready;
}

struct voice *voice_free(struct voice *voice)
{
    if (voice == NULL)
        return NULL;
    voice->notify = notify_free(voice->notify);
    voice->status_timer = sd_event_source_disable_unref(voice->status_timer);
    voice->oom = oom_watch_free(voice->oom);
    voice->oom_survived = sd_event_source_disable_unref(voice->oom_survived);
    free(voice->status);
    free(voice);
    return NULL;
}
