#include "tests/support/rpc/grpc/grpc_peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/rpc/grpc/grpc_peer_private.h"

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

void grpc_peer_flush(struct grpc_peer *peer)
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
    grpc_peer_flush(peer);
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
    grpc_peer_flush(peer);
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

struct grpc_peer *grpc_peer_free(struct grpc_peer *peer)
{
    if (peer == NULL)
        return NULL;
    peer->io = sd_event_source_disable_unref(peer->io);
    nghttp2_session_del(peer->session);
    while (!LIST_EMPTY(&peer->calls))
        grpc_call_free(LIST_FIRST(&peer->calls));
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
    grpc_peer_flush(peer);
}

void grpc_peer_pause(struct grpc_peer *peer)
{
    peer->is_paused = true;
    grpc_peer_flush(peer);
}

void grpc_peer_resume(struct grpc_peer *peer)
{
    peer->is_paused = false;
    grpc_peer_flush(peer);
}

void grpc_peer_half_close(struct grpc_peer *peer)
{
    assert_int_equal(evbuffer_get_length(peer->out), 0);
    assert_int_equal(shutdown(peer->fd, SHUT_WR), 0);
}

void grpc_peer_ping(struct grpc_peer *peer)
{
    assert_int_equal(nghttp2_submit_ping(peer->session, NGHTTP2_FLAG_NONE, NULL), 0);
    grpc_peer_flush(peer);
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
