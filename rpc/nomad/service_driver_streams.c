#include <stdlib.h>

#include "driver.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_fingerprint.h"
#include "rpc/nomad/convert_stats.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/driver.h"

/* A peer that does not read gets no more for now. */
static bool is_full(struct call *call)
{
    return call_queued_bytes(call) > SERVICE_DRIVER_STREAM_BYTES_MAX;
}

/* --- fingerprint ----------------------------------------------------------------------------- */

/* Owned by its call; freed by the call's cancel hook. */
struct fingerprint_stream {
    struct call *call;
    struct driver *driver;
    struct fingerprint_watch *watch;
    bool behind; /* one was not told: the peer does not read */
    struct fingerprint_told told;
};

static void send_fingerprint(const ProtobufCMessage *message, void *data)
{
    const struct fingerprint_stream *stream = data;

    call_send(stream->call, message);
}

static void on_fingerprint(const struct driver_fingerprint *fingerprint, void *data)
{
    struct fingerprint_stream *stream = data;

    stream->behind = is_full(stream->call);
    if (!stream->behind)
        convert_fingerprint(fingerprint, &stream->told, send_fingerprint, stream);
}

static void on_fingerprint_drain(struct call *call, void *data)
{
    struct fingerprint_stream *stream = data;

    (void)call;
    if (!stream->behind)
        return;
    /* Only the newest counts, and a new watch tells it. */
    stream->behind = false;
    (void)fingerprint_watch_free(stream->watch);
    stream->watch = driver_watch_fingerprint(stream->driver, on_fingerprint, stream);
}

static void driver_fingerprint(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct fingerprint_stream *stream = ALLOC_NEW(struct fingerprint_stream);

    (void)request;
    stream->call = call;
    stream->driver = context;
    call_set_data(call, stream);
    call_on_drain(call, on_fingerprint_drain);
    stream->watch = driver_watch_fingerprint(context, on_fingerprint, stream);
}

static void driver_fingerprint_cancel(struct call *call, void *data)
{
    struct fingerprint_stream *stream = data;

    (void)call;
    (void)fingerprint_watch_free(stream->watch);
    fingerprint_told_done(&stream->told);
    free(stream);
}

/* --- events ---------------------------------------------------------------------------------- */

/* Owned by its call; freed by the call's cancel hook. */
struct event_stream {
    struct call *call;
    struct event_watch *watch;
    bool warned; /* once a stream */
};

typedef Nomad__DriverTaskEvent__AnnotationsEntry annotation_entry;

static void send_event(struct call *call, const struct task_event *event)
{
    Nomad__DriverTaskEvent message = NOMAD__DRIVER_TASK_EVENT__INIT;
    Google__Protobuf__Timestamp timestamp;
    CLEANUP(strv_done) struct strv texts = {};
    size_t n = event->annotations != NULL ? event->annotations->n_items : 0;
    CLEANUP_FREE annotation_entry *entries = alloc_zero(n + 1, sizeof(*entries));
    CLEANUP_FREE annotation_entry **list = (annotation_entry **)alloc_zero(n + 1, sizeof(*list));

    for (size_t i = 0; i < n; i++) {
        entries[i] = (annotation_entry)NOMAD__DRIVER_TASK_EVENT__ANNOTATIONS_ENTRY__INIT;
        entries[i].key = convert_text(&texts, event->annotations->items[i].key);
        entries[i].value = convert_text(&texts, event->annotations->items[i].value);
        list[i] = &entries[i];
    }
    message.n_annotations = n;
    message.annotations = list;
    convert_timestamp(event->timestamp_usec, &timestamp);
    message.timestamp = &timestamp;
    message.task_id = convert_text(&texts, event->task_id);
    message.alloc_id = convert_text(&texts, event->alloc_id);
    message.task_name = convert_text(&texts, event->task_name);
    message.message = convert_text(&texts, event->message);
    call_send(call, &message.base);
}

static void on_event(const struct task_event *event, void *data)
{
    struct event_stream *stream = data;

    if (!is_full(stream->call)) {
        send_event(stream->call, event);
        return;
    }
    if (!stream->warned)
        log_task_warn(event->task_id,
                      "the agent does not read task events, dropping '%s', ignoring",
                      event->message);
    stream->warned = true;
}

static void driver_task_events(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct event_stream *stream = ALLOC_NEW(struct event_stream);

    (void)request;
    stream->call = call;
    call_set_data(call, stream);
    stream->watch = driver_watch_events(context, on_event, stream);
}

static void driver_task_events_cancel(struct call *call, void *data)
{
    struct event_stream *stream = data;

    (void)call;
    (void)event_watch_free(stream->watch);
    free(stream);
}

/* --- statistics ------------------------------------------------------------------------------ */

/* Owned by its call; freed by the call's cancel hook. */
struct sample_stream {
    struct call *call;
    struct stats_stream *stats;
};

static void on_sample(const struct task_stats *stats, void *data)
{
    const struct sample_stream *stream = data;
    const Nomad__TaskStatsRequest *request =
        (const Nomad__TaskStatsRequest *)call_request(stream->call);
    struct stats_message message;

    if (is_full(stream->call))
        return;
    convert_stats(request->task_id, stats, &message);
    call_send(stream->call, &message.response.base);
}

static void driver_task_stats(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__TaskStatsRequest *stats = (const Nomad__TaskStatsRequest *)request;
    CLEANUP_FREE struct sample_stream *stream = ALLOC_NEW(struct sample_stream);
    uint64_t interval_usec = convert_duration_usec(stats->collection_interval);
    CLEANUP_FAIL struct fail fail = {};

    if (interval_usec == 0)
        interval_usec = SERVICE_DRIVER_STATS_USEC_DEFAULT;
    stream->call = call;
    if (driver_open_stats(context, stats->task_id, interval_usec, on_sample, stream, &stream->stats,
                          &fail) < 0) {
        call_fail(call, &fail);
        return;
    }
    call_set_data(call, TAKE_PTR(stream));
}

static void driver_task_stats_cancel(struct call *call, void *data)
{
    struct sample_stream *stream = data;

    (void)call;
    (void)stats_stream_free(stream->stats);
    free(stream);
}

/* --- table ----------------------------------------------------------------------------------- */

const struct rpc_method driver_stream_methods[] = {
    DRIVER_METHOD(RPC_SERVER_STREAM, Fingerprint, fingerprint, .handle = driver_fingerprint,
                  .cancel = driver_fingerprint_cancel),
    DRIVER_METHOD(RPC_SERVER_STREAM, TaskStats, task_stats, .handle = driver_task_stats,
                  .cancel = driver_task_stats_cancel),
    {
        .path = DRIVER_PATH "TaskEvents",
        .kind = RPC_SERVER_STREAM,
        .request = &nomad__task_events_request__descriptor,
        .response = &nomad__driver_task_event__descriptor,
        .handle = driver_task_events,
        .cancel = driver_task_events_cancel,
    },
    {},
};
