#include "tests/support/grpc_peer.h"

#include <errno.h>
#include <event2/buffer.h>
#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"

#define PREFIX_SIZE 5

struct grpc_call {
    LIST_ENTRY(grpc_call) entry;
    struct grpc_peer *peer;
    int32_t id;
    struct evbuffer *out, *in;
    bool ended; /* all that there will be is in `out` */
    bool is_over;
    uint32_t error;
    char *headers; /* "name: value" lines */
};

struct grpc_peer {
    sd_event *event;
    int fd;
    sd_event_source *io;
    nghttp2_session *session;
    struct evbuffer *out;
    LIST_HEAD(, grpc_call) calls;
    bool is_paused, is_closed;
    int goaway;
    unsigned n_pongs;
    char *error;
};

/* --- callbacks of libnghttp2 ----------------------------------------------------------------- */

static struct grpc_call *find(struct grpc_peer *peer, int32_t id)
{
    return nghttp2_session_get_stream_user_data(peer->session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *data)
{
    struct grpc_call *call = find(data, frame->hd.stream_id);

    (void)session;
    (void)flags;
    if (call == NULL)
        return 0;
    char *headers = alloc_printf("%s%.*s: %.*s\n", call->headers, (int)n_name, (const char *)name,
                                 (int)n_value, (const char *)value);
    free(call->headers);
    call->headers = headers;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t n, void *data)
{
    struct grpc_call *call = find(data, id);

    (void)session;
    (void)flags;
    if (call != NULL)
        (void)evbuffer_add(call->in, bytes, n);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *data)
{
    struct grpc_call *call = find(data, id);

    (void)session;
    if (call == NULL)
        return 0;
    call->is_over = true;
    call->error = error;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct grpc_peer *peer = data;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        peer->goaway = (int)frame->goaway.error_code;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        peer->n_pongs++;
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *data)
{
    struct grpc_peer *peer = data;

    (void)session;
    if (peer->error == NULL)
        peer->error = alloc_printf("frame %u of stream %d: %s", frame->hd.type, frame->hd.stream_id,
                                   nghttp2_strerror(error));
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *data)
{
    struct grpc_call *call = source->ptr;

    (void)session;
    (void)id;
    (void)data;
    int n = evbuffer_remove(call->out, to, size);
    if (evbuffer_get_length(call->out) > 0)
        return n;
    if (call->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return n;
    }
    return n > 0 ? n : NGHTTP2_ERR_DEFERRED;
}

/* --- the socket ------------------------------------------------------------------------------ */

static void close_peer(struct grpc_peer *peer)
{
    struct grpc_call *call;

    peer->is_closed = true;
    peer->io = sd_event_source_disable_unref(peer->io);
    LIST_FOREACH(call, &peer->calls, entry)
    if (!call->is_over) {
        call->is_over = true;
        call->error = NGHTTP2_INTERNAL_ERROR;
    }
}

static void flush(struct grpc_peer *peer)
{
    const uint8_t *bytes;
    ssize_t n;

    if (peer->is_closed)
        return;
    while ((n = nghttp2_session_mem_send(peer->session, &bytes)) > 0)
        (void)evbuffer_add(peer->out, bytes, (size_t)n);
    if (evbuffer_get_length(peer->out) > 0 && evbuffer_write(peer->out, peer->fd) < 0 &&
        errno != EAGAIN) {
        close_peer(peer);
        return;
    }
    uint32_t events = peer->is_paused ? 0 : EPOLLIN;
    if (evbuffer_get_length(peer->out) > 0)
        events |= EPOLLOUT;
    assert_true(sd_event_source_set_io_events(peer->io, events) >= 0);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct grpc_peer *peer = data;
    uint8_t bytes[16384];

    (void)source;
    if (!peer->is_paused && (events & (EPOLLIN | EPOLLHUP)) != 0) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            close_peer(peer);
            return 0;
        }
        if (n > 0 && nghttp2_session_mem_recv(peer->session, bytes, (size_t)n) < 0)
            assert_non_null(peer->error);
    }
    flush(peer);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void make_session(struct grpc_peer *peer, bool updates)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_option_set_no_auto_window_update(option, !updates);
    assert_int_equal(nghttp2_session_client_new2(&peer->session, callbacks, peer, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static struct grpc_peer *make_peer(sd_event *event, const char *path, bool updates)
{
    struct grpc_peer *peer = ALLOC_NEW(struct grpc_peer);

    peer->event = sd_event_ref(event);
    peer->fd = connect_to(path);
    peer->out = evbuffer_new();
    peer->goaway = -1;
    LIST_INIT(&peer->calls);
    make_session(peer, updates);
    assert_true(sd_event_add_io(event, &peer->io, peer->fd, EPOLLIN, on_io, peer) >= 0);
    flush(peer);
    return peer;
}

struct grpc_peer *grpc_peer_new(sd_event *event, const char *path)
{
    return make_peer(event, path, true);
}

struct grpc_peer *grpc_peer_new_without_updates(sd_event *event, const char *path)
{
    return make_peer(event, path, false);
}

static void call_free(struct grpc_call *call)
{
    LIST_REMOVE(call, entry);
    evbuffer_free(call->out);
    evbuffer_free(call->in);
    free(call->headers);
    free(call);
}

struct grpc_peer *grpc_peer_free(struct grpc_peer *peer)
{
    if (peer == NULL)
        return NULL;
    peer->io = sd_event_source_disable_unref(peer->io);
    nghttp2_session_del(peer->session);
    while (!LIST_EMPTY(&peer->calls))
        call_free(LIST_FIRST(&peer->calls));
    evbuffer_free(peer->out);
    (void)close_fd(peer->fd);
    sd_event_unref(peer->event);
    free(peer->error);
    free(peer);
    return NULL;
}

void grpc_peer_set_window(struct grpc_peer *peer, int32_t size)
{
    const nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)size };

    assert_int_equal(nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, &entry, 1), 0);
    assert_int_equal(
        nghttp2_session_set_local_window_size(peer->session, NGHTTP2_FLAG_NONE, 0, size), 0);
    flush(peer);
}

void grpc_peer_pause(struct grpc_peer *peer)
{
    peer->is_paused = true;
    flush(peer);
}

void grpc_peer_resume(struct grpc_peer *peer)
{
    peer->is_paused = false;
    flush(peer);
}

void grpc_peer_half_close(struct grpc_peer *peer)
{
    assert_int_equal(evbuffer_get_length(peer->out), 0);
    assert_int_equal(shutdown(peer->fd, SHUT_WR), 0);
}

void grpc_peer_ping(struct grpc_peer *peer)
{
    assert_int_equal(nghttp2_submit_ping(peer->session, NGHTTP2_FLAG_NONE, NULL), 0);
    flush(peer);
}

unsigned grpc_peer_n_pongs(const struct grpc_peer *peer)
{
    return peer->n_pongs;
}

bool grpc_peer_is_closed(const struct grpc_peer *peer)
{
    return peer->is_closed;
}

int grpc_peer_goaway(const struct grpc_peer *peer)
{
    return peer->goaway;
}

const char *grpc_peer_error(const struct grpc_peer *peer)
{
    return peer->error;
}

bool grpc_peer_wait_closed(struct grpc_peer *peer)
{
    return event_run_until_set(peer->event, &peer->is_closed);
}

/* --- calls ----------------------------------------------------------------------------------- */

static void add_header(nghttp2_nv *headers, size_t *n, const char *name, const char *value,
                       const char *usual)
{
    if (value == NULL)
        value = usual;
    if (value == NULL || value[0] == '\0')
        return;
    headers[(*n)++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value),
    };
}

static void add_message(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    CLEANUP_FREE uint8_t *bytes = alloc_zero(1, PREFIX_SIZE + n);

    for (unsigned i = 0; i < 4; i++)
        bytes[4 - i] = (uint8_t)(n >> 8 * i);
    (void)protobuf_c_message_pack(message, bytes + PREFIX_SIZE);
    (void)evbuffer_add(call->out, bytes, PREFIX_SIZE + n);
}

struct grpc_call *grpc_peer_call(struct grpc_peer *peer, const struct grpc_request *request)
{
    struct grpc_call *call = ALLOC_NEW(struct grpc_call);
    nghttp2_data_provider body = { .source.ptr = call, .read_callback = read_body };
    nghttp2_nv headers[16];
    size_t n = 0;

    call->peer = peer;
    call->out = evbuffer_new();
    call->in = evbuffer_new();
    call->headers = alloc_strdup("");
    call->ended = !request->open;
    if (request->n_body > 0)
        (void)evbuffer_add(call->out, request->body, request->n_body);
    if (request->message != NULL)
        add_message(call, request->message);
    add_header(headers, &n, ":method", request->method, "POST");
    add_header(headers, &n, ":scheme", NULL, "http");
    add_header(headers, &n, ":path", request->path, NULL);
    add_header(headers, &n, ":authority", NULL, "unused");
    add_header(headers, &n, "content-type", request->content_type, "application/grpc");
    add_header(headers, &n, "te", request->te, "trailers");
    add_header(headers, &n, "grpc-timeout", request->timeout, NULL);
    add_header(headers, &n, "grpc-encoding", request->encoding, NULL);
    LIST_INSERT_HEAD(&peer->calls, call, entry);
    call->id = nghttp2_submit_request(peer->session, NULL, headers, n, &body, call);
    assert_true(call->id > 0);
    flush(peer);
    return call;
}

static void send_on(struct grpc_call *call, bool end)
{
    call->ended = end;
    /* an error: it is over, or was not waiting */
    (void)nghttp2_session_resume_data(call->peer->session, call->id);
    flush(call->peer);
}

void grpc_call_send(struct grpc_call *call, const void *body, size_t n, bool end)
{
    (void)evbuffer_add(call->out, body, n);
    send_on(call, end);
}

void grpc_call_send_message(struct grpc_call *call, const ProtobufCMessage *message, bool end)
{
    add_message(call, message);
    send_on(call, end);
}

void grpc_call_cancel(struct grpc_call *call)
{
    assert_int_equal(
        nghttp2_submit_rst_stream(call->peer->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL),
        0);
    flush(call->peer);
}

void grpc_call_wait(struct grpc_call *call)
{
    if (!event_run_until_set(call->peer->event, &call->is_over))
        fail_msg("the call does not end; so far:\n%s", call->headers);
}

struct waiting {
    const struct grpc_call *call;
    size_t n;
};

static bool has_messages(void *data)
{
    const struct waiting *waiting = data;

    return grpc_call_n_messages(waiting->call) >= waiting->n;
}

void grpc_call_wait_messages(struct grpc_call *call, size_t n)
{
    struct waiting waiting = { call, n };

    if (!event_run_until(call->peer->event, has_messages, &waiting))
        fail_msg("%zu messages came, not %zu", grpc_call_n_messages(call), n);
}

bool grpc_call_is_over(const struct grpc_call *call)
{
    return call->is_over;
}

static bool is_sent(void *data)
{
    const struct grpc_call *call = data;

    return call->is_over ||
           evbuffer_get_length(call->out) + evbuffer_get_length(call->peer->out) == 0;
}

void grpc_call_wait_sent(struct grpc_call *call)
{
    if (!event_run_until(call->peer->event, is_sent, call))
        fail_msg("%zu bytes of the request are not sent", evbuffer_get_length(call->out));
}

const char *grpc_call_header(const struct grpc_call *call, const char *name)
{
    static char value[65536];
    size_t n = strlen(name);

    for (const char *line = call->headers; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, n) != 0 || strncmp(line + n, ": ", 2) != 0)
            continue;
        (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + n + 2, "\n"),
                       line + n + 2);
        return value;
    }
    return "";
}

uint32_t grpc_call_error(const struct grpc_call *call)
{
    return call->error;
}

/* Where the message is after `at`; false: not whole. */
static bool next_message(const struct grpc_call *call, size_t at, size_t *ret_n)
{
    uint8_t prefix[PREFIX_SIZE];
    struct evbuffer_ptr position;

    if (at + PREFIX_SIZE > evbuffer_get_length(call->in))
        return false;
    assert_int_equal(evbuffer_ptr_set(call->in, &position, at, EVBUFFER_PTR_SET), 0);
    assert_int_equal(evbuffer_copyout_from(call->in, &position, prefix, sizeof(prefix)),
                     PREFIX_SIZE);
    assert_int_equal(prefix[0], 0);
    *ret_n = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
    return at + PREFIX_SIZE + *ret_n <= evbuffer_get_length(call->in);
}

size_t grpc_call_n_messages(const struct grpc_call *call)
{
    size_t at = 0, n, n_messages = 0;

    for (; next_message(call, at, &n); at += PREFIX_SIZE + n)
        n_messages++;
    return n_messages;
}

size_t grpc_call_n_bytes(const struct grpc_call *call)
{
    return evbuffer_get_length(call->in);
}

ProtobufCMessage *grpc_call_message(const struct grpc_call *call, size_t i,
                                    const ProtobufCMessageDescriptor *type)
{
    size_t at = 0, n = 0;

    for (; next_message(call, at, &n) && i > 0; at += PREFIX_SIZE + n)
        i--;
    assert_true(next_message(call, at, &n));
    const uint8_t *bytes = evbuffer_pullup(call->in, -1);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, n, bytes + at + PREFIX_SIZE);
    assert_non_null(message);
    return message;
}

void grpc_call_expect(struct grpc_call *call, int code, const char *message)
{
    grpc_call_wait(call);
    CLEANUP_FREE char *expected = alloc_printf("%d", code);
    if (strcmp(grpc_call_header(call, "grpc-status"), expected) != 0)
        fail_msg("not %d, but (error %u):\n%s", code, call->error, call->headers);
    assert_string_equal(grpc_call_header(call, "grpc-message"), message != NULL ? message : "");
    assert_int_equal(call->error, 0);
}
