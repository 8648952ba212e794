#include "rpc/grpc/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/grpc_block.h"
#include "rpc/grpc/grpc_wire.h"

struct row {
    const struct rpc_method *method;
    void *context;
};

struct dispatch {
    struct row *rows; /* sorted by path */
    size_t n_rows;
};

/* --- table ----------------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return strcmp(x->method->path, y->method->path);
}

struct dispatch *dispatch_new(void)
{
    return ALLOC_NEW(struct dispatch);
}

void dispatch_add(struct dispatch *dispatch, const struct rpc_method *methods, void *context)
{
    for (const struct rpc_method *method = methods; method->path != NULL; method++) {
        dispatch->rows = alloc_grow(dispatch->rows, dispatch->n_rows + 1, sizeof(struct row));
        dispatch->rows[dispatch->n_rows++] = (struct row){ method, context };
    }
    if (dispatch->n_rows == 0)
        return;
    qsort(dispatch->rows, dispatch->n_rows, sizeof(struct row), compare_rows);
    for (size_t i = 1; i < dispatch->n_rows; i++)
        assert(compare_rows(&dispatch->rows[i - 1], &dispatch->rows[i]) < 0);
}

struct dispatch *dispatch_free(struct dispatch *dispatch)
{
    if (dispatch == NULL)
        return NULL;
    free(dispatch->rows);
    free(dispatch);
    return NULL;
}

static const struct row *find(const struct dispatch *dispatch, struct h2_text path)
{
    /* A NUL within it would end the comparison early. */
    if (strlen(path.s) != path.n || dispatch->n_rows == 0)
        return NULL;
    const struct rpc_method method = { .path = path.s };
    const struct row key = { .method = &method };

    return bsearch(&key, dispatch->rows, dispatch->n_rows, sizeof(struct row), compare_rows);
}

/* --- a request ------------------------------------------------------------------------------- */

static void refuse_http(struct h2_stream *stream, const char *http_status, enum grpc_code code,
                        const char *text)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    uint8_t block[GRPC_BLOCK_MAX];

    grpc_status_set(&status, code, "%s", text);
    h2_stream_send_trailers(stream, block, grpc_block_refusal(block, http_status, &status));
}

/* Stands in the place of the call, for a request that is no gRPC but plain HTTP. It is answered as
 * such: when it is whole, as what is malformed about it may show only then (RFC 9113 section
 * 8.1.1), and with a text, which tools show. */
struct http_refusal {
    const char *http_status, *text;
};

static struct http_refusal bad_method = { "405", "the method of a gRPC request is POST" };
static struct http_refusal bad_type = {
    "415", "the content-type of a gRPC request is application/grpc"
};

static const struct http_refusal *find_refusal(const struct h2_stream *stream)
{
    const void *data = h2_stream_data(stream);

    return data == &bad_method || data == &bad_type ? data : NULL;
}

/* NULL: refused, to be refused, or ended. */
static struct call *find_call(const struct h2_stream *stream)
{
    return find_refusal(stream) == NULL ? h2_stream_data(stream) : NULL;
}

static void refuse_with_text(struct h2_stream *stream, const struct http_refusal *refusal)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};
    uint8_t block[GRPC_BLOCK_MAX];

    grpc_status_set(&status, GRPC_INTERNAL, "%s", refusal->text);
    h2_stream_send_headers(stream, block, grpc_block_text(block, refusal->http_status));
    /* Where there is no room for it, the trailers say it. */
    (void)h2_stream_send_data(stream, (const uint8_t *)refusal->text, strlen(refusal->text));
    h2_stream_send_trailers(stream, block,
                            grpc_block_trailers(block, &status, &(struct grpc_metadata){}));
}

/* In the words of grpc-go, which people know. */
static void refuse_path(const struct dispatch *dispatch, struct h2_stream *stream,
                        struct h2_text path)
{
    const char *slash = path.n > 1 && path.s[0] == '/' ? strrchr(path.s + 1, '/') : NULL;
    bool service_is_known = false;

    if (slash == NULL) {
        call_refuse(stream, GRPC_UNIMPLEMENTED, "malformed method name");
        return;
    }
    size_t n = (size_t)(slash - path.s);
    for (size_t i = 0; i < dispatch->n_rows; i++)
        service_is_known |= strncmp(dispatch->rows[i].method->path, path.s, n + 1) == 0;
    CLEANUP_FREE char *service = alloc_strndup(path.s + 1, n - 1);
    CLEANUP_FREE char *text = service_is_known
                                      ? alloc_printf("unknown method %s for service %s", slash + 1,
                                                     service)
                                      : alloc_printf("unknown service %s", service);
    call_refuse(stream, GRPC_UNIMPLEMENTED, text);
}

/* Whatever begins so comes from a client that speaks gRPC, if with messages of another kind. */
static bool is_of_grpc(struct h2_text type)
{
    static const char prefix[] = "application/grpc";

    return type.s != NULL && strncmp(type.s, prefix, sizeof(prefix) - 1) == 0;
}

/* True: refused, or to be refused. */
static bool refuse_headers(struct h2_stream *stream, const struct h2_headers *headers)
{
    struct h2_text type = h2_headers_get(headers, "content-type");
    struct h2_text encoding = h2_headers_get(headers, "grpc-encoding");

    if (!h2_text_is(headers->method, "POST"))
        h2_stream_set_data(stream, &bad_method);
    else if (!is_of_grpc(type))
        h2_stream_set_data(stream, &bad_type);
    else if (!grpc_wire_is_content_type(type.s, type.n))
        refuse_http(stream, "415", GRPC_INTERNAL, bad_type.text);
    /* gRPC asks for it to find out proxies that lose trailers; by them a status would be lost, too,
     * and an HTTP status is not. */
    else if (!h2_text_is(h2_headers_get(headers, "te"), "trailers"))
        refuse_http(stream, "400", GRPC_INTERNAL, "a gRPC request has 'te: trailers'");
    else if (encoding.s != NULL && !h2_text_is(encoding, "identity"))
        call_refuse(stream, GRPC_UNIMPLEMENTED,
                    "the request is compressed, only identity is supported");
    else
        return false;
    return true;
}

void dispatch_request(struct dispatch_conn *conn, struct h2_stream *stream,
                      const struct h2_headers *headers)
{
    struct h2_text timeout = h2_headers_get(headers, "grpc-timeout");
    uint64_t usec = 0;

    if (refuse_headers(stream, headers))
        return;
    if (timeout.s != NULL && grpc_wire_parse_timeout(timeout.s, timeout.n, &usec) < 0) {
        refuse_http(stream, "400", GRPC_INTERNAL, "malformed grpc-timeout");
        return;
    }
    const struct row *row = find(conn->dispatch, headers->path);
    CLEANUP_GRPC_METADATA struct grpc_metadata metadata = {};
    if (row != NULL && grpc_metadata_read(headers, &metadata) < 0) {
        refuse_http(stream, "400", GRPC_INTERNAL, "malformed binary metadata");
        return;
    }
    if (row == NULL) {
        refuse_path(conn->dispatch, stream, headers->path);
        return;
    }
    struct call *call = call_new(row->method, row->context, stream, &conn->budget, conn->event);
    if (timeout.s != NULL) {
        int r = call_set_deadline(call, usec);
        if (r < 0)
            log_warn("%s: cannot set its deadline: %s, ignoring", row->method->path, strerror(-r));
    }
    call_open(call, &metadata);
}

/* What the peer still sends on a stream without a call is given its room back and dropped. */

void dispatch_data(struct h2_stream *stream, const uint8_t *bytes, size_t n)
{
    struct call *call = find_call(stream);

    if (call != NULL)
        call_receive(call, bytes, n);
    else
        h2_stream_consume(stream, n);
}

void dispatch_end(struct h2_stream *stream)
{
    const struct http_refusal *refusal = find_refusal(stream);
    struct call *call = find_call(stream);

    if (call != NULL)
        call_half_close(call);
    else if (refusal != NULL)
        refuse_with_text(stream, refusal);
}

void dispatch_reset(struct h2_stream *stream)
{
    struct call *call = find_call(stream);

    if (call != NULL)
        call_gone(call);
}

void dispatch_drain(struct h2_stream *stream)
{
    struct call *call = find_call(stream);

    if (call != NULL)
        call_drained(call);
}
