#include "tasks/exec/exec.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/exec/exec_child.h"
#include "tasks/exec/exec_spawn.h"

/* What is read at once, and told as one piece: half of a pipe. */
#define OUTPUT_BYTES 32768

/* ^D: with nothing before it on the line a terminal's reader sees the end of its input. */
#define END_OF_INPUT "\x04"

struct stream {
    int fd;
    sd_event_source *source;
    bool ended; /* told */
};

struct exec {
    LIST_ENTRY(exec) entry;
    sd_event *event;
    struct exec_scope *scope;
    const struct exec_events *events;
    void *data;
    bool tty, has_exited, is_paused, close_stdin;
    int report_fd, pidfd, stdin_fd;
    sd_event_source *report, *exited, *writable, *timeout;
    struct stream streams[EXEC_STREAM_MAX];
    struct evbuffer *queue; /* for its standard input */
    struct winsize size;
    struct task_exit exit;
    struct fail fail;
};

/* --- the end --------------------------------------------------------------------------------- */

static void stop_stdin(struct exec *exec)
{
    exec->writable = sd_event_source_disable_unref(exec->writable);
    exec->stdin_fd = close_fd(exec->stdin_fd);
    (void)evbuffer_drain(exec->queue, evbuffer_get_length(exec->queue));
}

static void stop_stream(struct stream *stream)
{
    stream->source = sd_event_source_disable_unref(stream->source);
    stream->fd = close_fd(stream->fd);
}

struct exec *exec_free(struct exec *exec)
{
    if (exec == NULL)
        return NULL;
    LIST_REMOVE(exec, entry);
    exec->report = sd_event_source_disable_unref(exec->report);
    exec->exited = sd_event_source_disable_unref(exec->exited);
    exec->timeout = sd_event_source_disable_unref(exec->timeout);
    exec->report_fd = close_fd(exec->report_fd);
    stop_stdin(exec);
    evbuffer_free(exec->queue);
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        stop_stream(&exec->streams[i]);
    if (exec->has_exited)
        exec->pidfd = close_fd(exec->pidfd);
    if (exec->scope != NULL)
        exec_scope_end(exec->scope, TAKE_FD(exec->pidfd));
    fail_done(&exec->fail);
    free(exec);
    return NULL;
}

static void end(struct exec *exec)
{
    const struct exec_events *events = exec->events;
    void *data = exec->data;
    struct task_exit exit = exec->exit;
    CLEANUP_FAIL struct fail fail = {};

    fail_move(&fail, &exec->fail);
    exec_free(exec);
    events->ended(&exit, fail.error < 0 ? &fail : NULL, data);
}

/* As docker exec: when the process has ended, and whoever else writes there too. */
static void end_if_done(struct exec *exec)
{
    bool done = exec->has_exited && exec->report == NULL;

    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        done = done && exec->streams[i].ended;
    if (done || (exec->fail.error < 0 && exec->report == NULL))
        end(exec);
}

void execs_init(struct execs *execs)
{
    LIST_INIT(&execs->running);
    LIST_INIT(&execs->scopes);
}

void execs_end(struct execs *execs, const char *why)
{
    while (!LIST_EMPTY(&execs->running)) {
        struct exec *exec = LIST_FIRST(&execs->running);

        (void)fail_set(&exec->fail, -ECANCELED, "the command was killed: %s", why);
        end(exec);
    }
}

void execs_done(struct execs *execs)
{
    assert(LIST_EMPTY(&execs->running));
    exec_scopes_done(&execs->scopes);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *data)
{
    struct exec *exec = data;

    (void)source;
    (void)usec;
    (void)fail_set(&exec->fail, -ETIMEDOUT, "the command did not end in time and was killed");
    end(exec);
    return 0;
}

/* --- output ---------------------------------------------------------------------------------- */

static void tell_end(struct exec *exec, enum exec_stream which)
{
    struct stream *stream = &exec->streams[which];

    stop_stream(stream);
    stream->ended = true;
    exec->events->output(which, NULL, 0, exec->data);
}

static void read_output(struct exec *exec, enum exec_stream which)
{
    uint8_t bytes[OUTPUT_BYTES];
    ssize_t n = read(exec->streams[which].fd, bytes, sizeof(bytes));

    if (n > 0) {
        exec->events->output(which, bytes, (size_t)n, exec->data);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    tell_end(exec, which); /* a terminal says EIO when nobody has it open any more */
    end_if_done(exec);
}

static int on_stdout(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    read_output(data, EXEC_STDOUT);
    return 0;
}

static int on_stderr(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    read_output(data, EXEC_STDERR);
    return 0;
}

void exec_pause_output(struct exec *exec, bool pause)
{
    exec->is_paused = pause;
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        if (exec->streams[i].source != NULL)
            (void)sd_event_source_set_enabled(exec->streams[i].source,
                                              pause ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void watch_stream(struct exec *exec, enum exec_stream which, int fd)
{
    struct stream *stream = &exec->streams[which];

    stream->fd = fd;
    int r = sd_event_add_io(exec->event, &stream->source, fd, EPOLLIN,
                            which == EXEC_STDOUT ? on_stdout : on_stderr, exec);
    assert(r >= 0);
    (void)sd_event_source_set_description(stream->source, "exec-output");
    if (exec->is_paused)
        (void)sd_event_source_set_enabled(stream->source, SD_EVENT_OFF);
}

/* --- input ----------------------------------------------------------------------------------- */

static void flush_stdin(struct exec *exec)
{
    bool had = evbuffer_get_length(exec->queue) > 0;

    while (exec->stdin_fd >= 0 && evbuffer_get_length(exec->queue) > 0) {
        int n = evbuffer_write(exec->queue, exec->stdin_fd);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            stop_stdin(exec); /* it reads no more */
    }
    bool empty = evbuffer_get_length(exec->queue) == 0;
    if (exec->writable != NULL)
        (void)sd_event_source_set_enabled(exec->writable, empty ? SD_EVENT_OFF : SD_EVENT_ON);
    if (empty && exec->close_stdin)
        stop_stdin(exec);
    if (had && empty)
        exec->events->drained(exec->data);
}

static int on_writable(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    flush_stdin(data);
    return 0;
}

static void watch_stdin(struct exec *exec, int fd)
{
    exec->stdin_fd = fd;
    int r = sd_event_add_io(exec->event, &exec->writable, fd, EPOLLOUT, on_writable, exec);
    assert(r >= 0);
    (void)sd_event_source_set_description(exec->writable, "exec-input");
}

/* From the loop, so that `drained` is not called in here. */
static void flush_later(const struct exec *exec)
{
    if (exec->writable != NULL)
        (void)sd_event_source_set_enabled(exec->writable, SD_EVENT_ON);
}

size_t exec_write_stdin(struct exec *exec, const uint8_t *bytes, size_t n)
{
    bool is_closed = exec->close_stdin ||
                     (exec->stdin_fd < 0 && (!exec->tty || exec->report == NULL));

    if (is_closed || n == 0)
        return evbuffer_get_length(exec->queue);
    int r = evbuffer_add(exec->queue, bytes, n);
    assert(r == 0);
    flush_later(exec);
    return evbuffer_get_length(exec->queue);
}

void exec_close_stdin(struct exec *exec)
{
    if (exec->tty) {
        (void)exec_write_stdin(exec, (const uint8_t *)END_OF_INPUT, 1);
        return;
    }
    exec->close_stdin = true;
    flush_later(exec);
}

void exec_resize(struct exec *exec, unsigned rows, unsigned columns)
{
    exec->size.ws_row = (unsigned short)(rows < 0xffff ? rows : 0xffff);
    exec->size.ws_col = (unsigned short)(columns < 0xffff ? columns : 0xffff);
    if (exec->tty && exec->stdin_fd >= 0)
        (void)ioctl(exec->stdin_fd, TIOCSWINSZ, &exec->size);
}

/* --- what the child says --------------------------------------------------------------------- */

/* One descriptor is the end of both directions; each has its own number, as it is closed by
 * itself. */
static int take_tty(struct exec *exec, int fd)
{
    CLEANUP_CLOSE int master = fd;
    int copy = fcntl(master, F_DUPFD_CLOEXEC, 3);

    if (copy < 0)
        return -errno;
    (void)fcntl(master, F_SETFL, O_NONBLOCK);
    watch_stream(exec, EXEC_STDOUT, TAKE_FD(master));
    watch_stdin(exec, copy);
    if (exec->size.ws_row > 0)
        (void)ioctl(copy, TIOCSWINSZ, &exec->size);
    return 0;
}

static ssize_t receive_report(int fd, struct exec_child_report *report, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = { .iov_base = report, .iov_len = sizeof(*report) };
    struct msghdr message = {
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
    return n;
}

static void close_report(struct exec *exec)
{
    exec->report = sd_event_source_disable_unref(exec->report);
    exec->report_fd = close_fd(exec->report_fd);
    if (exec->tty && exec->streams[EXEC_STDOUT].fd < 0 && !exec->streams[EXEC_STDOUT].ended)
        tell_end(exec, EXEC_STDOUT); /* it never came to a terminal */
    end_if_done(exec);
}

static int on_report(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct exec *exec = data;
    struct exec_child_report report;
    int passed_fd = -EBADF;

    (void)source;
    (void)events;
    ssize_t n = receive_report(fd, &report, &passed_fd);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    if (n != sizeof(report)) {
        (void)close_fd(passed_fd);
        close_report(exec);
        return 0;
    }
    if (report.kind == EXEC_CHILD_TTY && passed_fd >= 0 && exec->stdin_fd < 0) {
        int r = take_tty(exec, passed_fd);
        if (r < 0)
            (void)fail_set(&exec->fail, r, "cannot take the terminal: %s", strerror(-r));
        return 0;
    }
    (void)close_fd(passed_fd);
    report.text[sizeof(report.text) - 1] = '\0';
    (void)fail_set(&exec->fail, report.error < 0 ? report.error : -EIO, "%s", report.text);
    return 0;
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct exec *exec = data;
    siginfo_t info = {};

    (void)source;
    (void)events;
    exec->exited = sd_event_source_disable_unref(exec->exited);
    exec->has_exited = true;
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED) < 0)
        (void)fail_set(&exec->fail, -errno, "the end of the command is not known: %s",
                       strerror(errno));
    bool exited = info.si_code == CLD_EXITED;
    exec->exit.exit_code = exited ? info.si_status : 128 + info.si_status;
    exec->exit.signal = exited ? 0 : info.si_status;
    /* Nobody is to keep the terminal open when its session leader is gone. */
    if (exec->tty)
        exec_scope_kill(exec->scope);
    end_if_done(exec);
    return 0;
}

/* --- the start ------------------------------------------------------------------------------- */

static void watch(struct exec *exec, struct exec_ends *ends, uint64_t timeout_usec)
{
    sd_event *event = exec->event;

    exec->report_fd = TAKE_FD(ends->report[0]);
    int r = sd_event_add_io(event, &exec->report, exec->report_fd, EPOLLIN, on_report, exec);
    assert(r >= 0);
    (void)sd_event_source_set_description(exec->report, "exec-report");
    r = sd_event_add_io(event, &exec->exited, exec->pidfd, EPOLLIN, on_exited, exec);
    assert(r >= 0);
    (void)sd_event_source_set_description(exec->exited, "exec-exit");
    if (exec->tty) {
        exec->streams[EXEC_STDERR].ended = true;
    } else {
        watch_stdin(exec, TAKE_FD(ends->in[1]));
        watch_stream(exec, EXEC_STDOUT, TAKE_FD(ends->out[0]));
        watch_stream(exec, EXEC_STDERR, TAKE_FD(ends->err[0]));
    }
    if (timeout_usec == 0)
        return;
    r = sd_event_add_time_relative(event, &exec->timeout, CLOCK_MONOTONIC, timeout_usec, 0,
                                   on_timeout, exec);
    assert(r >= 0);
    (void)sd_event_source_set_description(exec->timeout, "exec-timeout");
}

static struct exec *exec_new(const struct exec_place *place, const struct exec_args *args,
                             const struct exec_events *events, void *data)
{
    struct exec *exec = ALLOC_NEW(struct exec);

    exec->event = place->event;
    exec->events = events;
    exec->data = data;
    exec->tty = args->tty;
    exec->report_fd = exec->pidfd = exec->stdin_fd = -EBADF;
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        exec->streams[i].fd = -EBADF;
    exec->queue = evbuffer_new();
    assert(exec->queue != NULL);
    LIST_INSERT_HEAD(&place->execs->running, exec, entry);
    return exec;
}

static int run(struct exec *exec, const struct exec_place *place, const struct exec_args *args,
               struct fail *reterr)
{
    CLEANUP(exec_ends_done) struct exec_ends ends = EXEC_ENDS_NONE;

    int r = place->unit_cgroup == NULL ? -EOPNOTSUPP
                                       : exec_scope_new(exec->event, place->unit_cgroup,
                                                        &place->execs->scopes, &exec->scope);
    if (r < 0)
        return fail_set(reterr, r, "cannot make a cgroup for the command: %s", strerror(-r));
    r = exec_ends_make(&ends, args->tty);
    const struct exec_child child = {
        .leader = place->leader,
        .leader_fd = place->leader_fd,
        .dir_fd = place->dir_fd,
        .report_fd = ends.report[1],
        .fds = { ends.in[0], ends.out[1], ends.err[1] },
        .tty = args->tty,
        .argv = args->argv,
    };
    if (r >= 0)
        r = exec_spawn(&child, exec_scope_fd(exec->scope), &exec->pidfd);
    if (r < 0)
        return fail_set(reterr, r, "cannot start a process for the command: %s", strerror(-r));
    watch(exec, &ends, args->timeout_usec);
    return 0;
}

int exec_start(const struct exec_place *place, const struct exec_args *args,
               const struct exec_events *events, void *data, struct exec **ret, struct fail *reterr)
{
    if (args->argv->n_items == 0 || args->argv->items[0][0] == '\0')
        return fail_set(reterr, -EINVAL, "there is no command to execute");
    if (place->leader_fd < 0)
        return fail_set(reterr, -ESRCH,
                        "the container's PID 1 is not known: machined did not tell it");
    struct exec *exec = exec_new(place, args, events, data);
    int r = run(exec, place, args, reterr);
    if (r < 0)
        exec_free(exec);
    else
        *ret = exec;
    return r;
}
