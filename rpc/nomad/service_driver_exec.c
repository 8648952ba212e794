/* Commands in running tasks: script checks, `nomad alloc exec`. */
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "driver.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/driver.h"

static void take_command(const char **command, size_t n, struct strv *ret)
{
    for (size_t i = 0; i < n; i++)
        strv_push(ret, command[i]);
}

/* --- ExecTask -------------------------------------------------------------------------------- */

/* Owned by its call; freed with the answer or by the call's cancel hook. */
struct collected {
    struct call *call;
    struct exec *exec;
    struct evbuffer *output[EXEC_STREAM_MAX];
};

static void collected_free(struct collected *collected)
{
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        evbuffer_free(collected->output[i]);
    free(collected);
}

static void on_collected(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data)
{
    struct collected *collected = data;
    size_t room = SERVICE_DRIVER_EXEC_BYTES_MAX -
                  evbuffer_get_length(collected->output[stream]);

    (void)evbuffer_add(collected->output[stream], bytes, n < room ? n : room);
}

static void on_collected_drained(void *data)
{
    (void)data; /* nothing is written */
}

static ProtobufCBinaryData take_output(struct evbuffer *buffer)
{
    size_t n = evbuffer_get_length(buffer);

    return (ProtobufCBinaryData){ .len = n, .data = n > 0 ? evbuffer_pullup(buffer, -1) : NULL };
}

static void on_collected_end(const struct task_exit *exit, const struct fail *fail, void *data)
{
    struct collected *collected = data;
    Nomad__ExecTaskResponse answer = NOMAD__EXEC_TASK_RESPONSE__INIT;
    Nomad__ExitResult result;

    convert_exit(exit, &result);
    answer.stdout = take_output(collected->output[EXEC_STDOUT]);
    answer.stderr = take_output(collected->output[EXEC_STDERR]);
    answer.result = &result;
    if (fail != NULL)
        call_fail(collected->call, fail);
    else
        call_reply(collected->call, &answer.base);
    collected_free(collected);
}

static const struct exec_events collected_events = {
    .output = on_collected,
    .drained = on_collected_drained,
    .ended = on_collected_end,
};

static void driver_exec(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Nomad__ExecTaskRequest *exec = (const Nomad__ExecTaskRequest *)request;
    struct collected *collected = ALLOC_NEW(struct collected);
    CLEANUP(strv_done) struct strv argv = {};
    CLEANUP_FAIL struct fail fail = {};

    take_command(exec->command, exec->n_command, &argv);
    collected->call = call;
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        collected->output[i] = evbuffer_new();
    const struct exec_args args = {
        .argv = &argv,
        .timeout_usec = convert_duration_usec(exec->timeout),
    };
    if (driver_exec_start(context, exec->task_id, &args, &collected_events, collected,
                          &collected->exec, &fail) < 0) {
        collected_free(collected);
        call_fail(call, &fail);
        return;
    }
    call_set_data(call, collected);
    exec_close_stdin(collected->exec);
}

static void driver_exec_cancel(struct call *call, void *data)
{
    struct collected *collected = data;

    (void)call;
    (void)exec_free(collected->exec);
    collected_free(collected);
}

/* --- ExecTaskStreaming ----------------------------------------------------------------------- */

/* Owned by its call; freed with the end of the call or by its cancel hook. */
struct exec_session {
    struct call *call;
    struct driver *driver;
    struct exec *exec; /* NULL: not set up yet, or it has ended */
    bool has_ended;    /* and its result was sent */
    bool is_stdin_closed;
    sd_event_source *heartbeat; /* once it has ended: until when the user's messages are awaited */
};

static void session_free(struct exec_session *session)
{
    session->heartbeat = sd_event_source_disable_unref(session->heartbeat);
    free(session);
}

static void finish_session(struct exec_session *session)
{
    struct call *call = session->call;

    session_free(session);
    call_finish(call);
}

static void arm_timer(const struct exec_session *session, uint64_t usec)
{
    int r = sd_event_source_set_time_relative(session->heartbeat, usec);
    assert(r >= 0);
    r = sd_event_source_set_enabled(session->heartbeat, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

/* An agent whose user has gone away notices it only when it passes something on, and then cancels
 * the call. */
static int on_heartbeat(sd_event_source *source, uint64_t usec, void *data)
{
    struct exec_session *session = data;
    const Nomad__ExecTaskStreamingResponse nothing = NOMAD__EXEC_TASK_STREAMING_RESPONSE__INIT;

    (void)source;
    (void)usec;
    if (session->has_ended) {
        finish_session(session);
        return 0;
    }
    if (call_queued_bytes(session->call) == 0)
        call_send(session->call, &nothing.base);
    arm_timer(session, SERVICE_DRIVER_EXEC_HEARTBEAT_USEC);
    return 0;
}

static void start_heartbeat(struct exec_session *session)
{
    int r = sd_event_add_time_relative(driver_event(session->driver), &session->heartbeat,
                                       CLOCK_MONOTONIC, SERVICE_DRIVER_EXEC_HEARTBEAT_USEC, 0,
                                       on_heartbeat, session);
    assert(r >= 0);
    (void)sd_event_source_set_description(session->heartbeat, "exec-heartbeat");
}

static void on_session_output(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data)
{
    const struct exec_session *session = data;
    Nomad__ExecTaskStreamingResponse answer = NOMAD__EXEC_TASK_STREAMING_RESPONSE__INIT;
    Nomad__ExecTaskStreamingIOOperation operation =
        NOMAD__EXEC_TASK_STREAMING_IOOPERATION__INIT;

    operation.data.data = (uint8_t *)(uintptr_t)bytes;
    operation.data.len = n;
    operation.close = n == 0;
    if (stream == EXEC_STDOUT)
        answer.stdout = &operation;
    else
        answer.stderr = &operation;
    call_send(session->call, &answer.base);
    if (call_queued_bytes(session->call) > SERVICE_DRIVER_EXEC_QUEUED_MAX)
        exec_pause_output(session->exec, true);
}

static void on_session_sent(struct call *call, void *data)
{
    const struct exec_session *session = data;

    (void)call;
    if (session->exec != NULL)
        exec_pause_output(session->exec, false);
}

static void on_session_drained(void *data)
{
    const struct exec_session *session = data;

    call_resume(session->call);
}

static void on_session_end(const struct task_exit *exit, const struct fail *fail, void *data)
{
    struct exec_session *session = data;
    Nomad__ExecTaskStreamingResponse answer = NOMAD__EXEC_TASK_STREAMING_RESPONSE__INIT;
    Nomad__ExitResult result;

    if (fail != NULL) {
        call_fail(session->call, fail);
        session_free(session);
        return;
    }
    convert_exit(exit, &result);
    answer.exited = true;
    answer.result = &result;
    call_send(session->call, &answer.base);
    session->exec = NULL;
    session->has_ended = true;
    if (session->is_stdin_closed)
        finish_session(session);
    else
        arm_timer(session, SERVICE_DRIVER_EXEC_LINGER_USEC);
}

static const struct exec_events session_events = {
    .output = on_session_output,
    .drained = on_session_drained,
    .ended = on_session_end,
};

static int set_up(struct exec_session *session, const Nomad__ExecTaskStreamingRequest *request,
                  struct fail *fail)
{
    CLEANUP(strv_done) struct strv argv = {};

    if (request == NULL || request->setup == NULL)
        return fail_set(fail, -EINVAL, "the first message of an exec has to say what to run");
    take_command(request->setup->command, request->setup->n_command, &argv);
    const struct exec_args args = { .argv = &argv, .tty = request->setup->tty };
    int r = driver_exec_start(session->driver, request->setup->task_id, &args, &session_events,
                              session, &session->exec, fail);
    if (r >= 0)
        start_heartbeat(session);
    return r;
}

static void close_stdin(struct exec_session *session)
{
    session->is_stdin_closed = true;
    if (session->has_ended)
        finish_session(session);
    else
        exec_close_stdin(session->exec);
}

static void pass_on(struct exec_session *session, const Nomad__ExecTaskStreamingRequest *request)
{
    const Nomad__ExecTaskStreamingRequest__TerminalSize *size = request->tty_size;

    if (!session->has_ended && size != NULL && size->height > 0 && size->width > 0)
        exec_resize(session->exec, (unsigned)size->height, (unsigned)size->width);
    if (request->stdin == NULL)
        return;
    if (request->stdin->close)
        close_stdin(session);
    else if (!session->has_ended &&
             exec_write_stdin(session->exec, request->stdin->data.data,
                              request->stdin->data.len) > SERVICE_DRIVER_EXEC_QUEUED_MAX)
        call_pause(session->call);
}

static void on_session_message(struct call *call, const ProtobufCMessage *message, void *data)
{
    struct exec_session *session = data;
    CLEANUP_FAIL struct fail fail = {};

    if (session->exec == NULL && !session->has_ended) {
        if (set_up(session, (const Nomad__ExecTaskStreamingRequest *)message, &fail) < 0) {
            session_free(session);
            call_fail(call, &fail);
        }
    } else if (message != NULL) {
        pass_on(session, (const Nomad__ExecTaskStreamingRequest *)message);
    } else { /* no host does so; it can only mean that there is no more input */
        close_stdin(session);
    }
}

static void driver_exec_streaming(struct call *call, const ProtobufCMessage *request, void *context)
{
    struct exec_session *session = ALLOC_NEW(struct exec_session);

    (void)request;
    session->call = call;
    session->driver = context;
    call_set_data(call, session);
    call_on_message(call, on_session_message);
    call_on_drain(call, on_session_sent);
}

static void driver_exec_streaming_cancel(struct call *call, void *data)
{
    struct exec_session *session = data;

    (void)call;
    (void)exec_free(session->exec);
    session_free(session);
}

/* --- table ----------------------------------------------------------------------------------- */

const struct rpc_method driver_exec_methods[] = {
    DRIVER_UNARY(ExecTask, exec_task, .handle = driver_exec, .cancel = driver_exec_cancel),
    DRIVER_METHOD(RPC_BIDI_STREAM, ExecTaskStreaming, exec_task_streaming,
                  .handle = driver_exec_streaming, .cancel = driver_exec_streaming_cancel),
    {},
};
