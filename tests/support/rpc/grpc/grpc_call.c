#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/rpc/grpc/grpc_peer_private.h"

#define PREFIX_SIZE 5

/* --- life ------------------------------------------------------------------------------------ */

void grpc_call_free(struct grpc_call *call)
{
    LIST_REMOVE(call, entry);
    evbuffer_free(call->out);
    evbuffer_free(call->in);
    free(call->headers);
    free(call);
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
    nghttp2_nv headers[24];
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
    for (const char *const *pair = request->metadata; pair != NULL && *pair != NULL; pair += 2)
        add_header(headers, &n, pair[0], pair[1], NULL);
    LIST_INSERT_HEAD(&peer->calls, call, entry);
    call->id = nghttp2_submit_request(peer->session, NULL, headers, n, &body, call);
    assert_true(call->id > 0);
    grpc_peer_flush(peer);
    return call;
}

/* --- the request goes on --------------------------------------------------------------------- */

static void send_on(struct grpc_call *call, bool end)
{
    call->ended = end;
    /* an error: it is over, or was not waiting */
    (void)nghttp2_session_resume_data(call->peer->session, call->id);
    grpc_peer_flush(call->peer);
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
    grpc_peer_flush(call->peer);
}

/* --- the answer ------------------------------------------------------------------------------ */

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

size_t grpc_call_n_unsent(const struct grpc_call *call)
{
    return evbuffer_get_length(call->out);
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
