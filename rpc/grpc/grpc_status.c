#include "rpc/grpc/grpc_status.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "status.pb-c.h"

static const struct {
    int error;
    enum grpc_code code;
} codes[] = {
    { EINVAL, GRPC_INVALID_ARGUMENT },
    { EDOM, GRPC_INVALID_ARGUMENT },
    { ENAMETOOLONG, GRPC_INVALID_ARGUMENT },
    { EILSEQ, GRPC_INVALID_ARGUMENT },
    { ERANGE, GRPC_OUT_OF_RANGE },
    { EOVERFLOW, GRPC_OUT_OF_RANGE },
    { ENOENT, GRPC_NOT_FOUND },
    { ENXIO, GRPC_NOT_FOUND },
    { ENODEV, GRPC_NOT_FOUND },
    { ESRCH, GRPC_NOT_FOUND },
    { EEXIST, GRPC_ALREADY_EXISTS },
    { EADDRINUSE, GRPC_ALREADY_EXISTS },
    { EPERM, GRPC_PERMISSION_DENIED },
    { EACCES, GRPC_PERMISSION_DENIED },
    { EROFS, GRPC_PERMISSION_DENIED },
    { E2BIG, GRPC_RESOURCE_EXHAUSTED },
    { EDQUOT, GRPC_RESOURCE_EXHAUSTED },
    { EMFILE, GRPC_RESOURCE_EXHAUSTED },
    { EMSGSIZE, GRPC_RESOURCE_EXHAUSTED },
    { ENFILE, GRPC_RESOURCE_EXHAUSTED },
    { ENOBUFS, GRPC_RESOURCE_EXHAUSTED },
    { ENOMEM, GRPC_RESOURCE_EXHAUSTED },
    { ENOSPC, GRPC_RESOURCE_EXHAUSTED },
    { EBUSY, GRPC_FAILED_PRECONDITION },
    { EISDIR, GRPC_FAILED_PRECONDITION },
    { ENOTDIR, GRPC_FAILED_PRECONDITION },
    { ENOTEMPTY, GRPC_FAILED_PRECONDITION },
    { ENOEXEC, GRPC_FAILED_PRECONDITION },
    { ECANCELED, GRPC_ABORTED },
    { EAGAIN, GRPC_ABORTED },
    { EINTR, GRPC_ABORTED },
    { ETIME, GRPC_DEADLINE_EXCEEDED },
    { ETIMEDOUT, GRPC_DEADLINE_EXCEEDED },
    { ENOSYS, GRPC_UNIMPLEMENTED },
    { EOPNOTSUPP, GRPC_UNIMPLEMENTED },
    { EBADMSG, GRPC_INTERNAL },
    { EIO, GRPC_INTERNAL },
    { EPROTO, GRPC_INTERNAL },
};

static struct {
    char *type_url;
    uint8_t *value;
    size_t n_value;
} recoverable_detail;

enum grpc_code grpc_status_code(int error)
{
    if (error < 0)
        error = -error;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].error == error)
            return codes[i].code;
    return GRPC_UNKNOWN;
}

/* The host refuses a status whose message is not UTF-8. */
static char *tidy_message(const char *text)
{
    /* It may quote a request, and be as long. What is cut of a last character is cut anyway. */
    CLEANUP_FREE char *begin = alloc_strndup(text, GRPC_STATUS_MESSAGE_MAX + UTF8_SEQUENCE_MAX);
    char *message = utf8_clean(begin);
    if (strlen(message) <= GRPC_STATUS_MESSAGE_MAX)
        return message;
    size_t n = 0;
    for (;;) {
        size_t step = utf8_sequence(message + n, strnlen(message + n, UTF8_SEQUENCE_MAX));
        if (step == 0 || n + step > GRPC_STATUS_MESSAGE_MAX)
            break;
        n += step;
    }
    message[n] = '\0';
    return message;
}

static void add_detail(struct grpc_status *status)
{
    Google__Protobuf__Any any, *list[] = { &any };
    google__protobuf__any__init(&any);
    any.type_url = recoverable_detail.type_url;
    any.value.data = recoverable_detail.value;
    any.value.len = recoverable_detail.n_value;
    Google__Rpc__Status message = GOOGLE__RPC__STATUS__INIT;
    message.code = (int32_t)status->code;
    message.message = status->message;
    message.n_details = 1;
    message.details = list;
    status->details = alloc_zero(1, google__rpc__status__get_packed_size(&message));
    status->n_details = google__rpc__status__pack(&message, status->details);
}

void grpc_status_from_fail(const struct fail *fail, struct grpc_status *ret_status)
{
    *ret_status = (struct grpc_status){
        .code = grpc_status_code(fail->error),
        .message = tidy_message(fail_text(fail)),
    };
    if (!fail->recoverable || !recoverable_detail.type_url)
        return;
    ret_status->code = GRPC_FAILED_PRECONDITION;
    add_detail(ret_status);
}

void grpc_status_set(struct grpc_status *ret_status, enum grpc_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CLEANUP_FREE char *text = alloc_vprintf(format, args);
    va_end(args);
    *ret_status = (struct grpc_status){ .code = code, .message = tidy_message(text) };
}

void grpc_status_copy(const struct grpc_status *status, struct grpc_status *ret_status)
{
    *ret_status = (struct grpc_status){
        .code = (unsigned)status->code < GRPC_CODE_MAX ? status->code : GRPC_UNKNOWN,
        .message = status->message ? tidy_message(status->message) : NULL,
    };
    if (!status->details || status->n_details > GRPC_STATUS_DETAILS_MAX)
        return;
    ret_status->details = alloc_memdup(status->details, status->n_details);
    ret_status->n_details = status->n_details;
}

void grpc_status_done(struct grpc_status *status)
{
    free(status->message);
    free(status->details);
    *status = (struct grpc_status){};
}

void grpc_status_set_recoverable_detail(const char *type_url, const void *value, size_t n)
{
    assert(strlen(type_url) + n <= GRPC_STATUS_DETAIL_MAX);
    free(recoverable_detail.type_url);
    free(recoverable_detail.value);
    recoverable_detail.type_url = alloc_strdup(type_url);
    /* one byte more, so that there is something to point at */
    recoverable_detail.value = alloc_zero(n + 1, 1);
    if (n > 0)
        memcpy(recoverable_detail.value, value, n);
    recoverable_detail.n_value = n;
}
