/* How a call ends: a code, a sentence, and for a failure that may pass by itself a detail that the
 * host understands. Knows nothing of Nomad: what the detail is gets registered. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"

enum grpc_code {
    GRPC_OK,
    GRPC_CANCELLED,
    GRPC_UNKNOWN,
    GRPC_INVALID_ARGUMENT,
    GRPC_DEADLINE_EXCEEDED,
    GRPC_NOT_FOUND,
    GRPC_ALREADY_EXISTS,
    GRPC_PERMISSION_DENIED,
    GRPC_RESOURCE_EXHAUSTED,
    GRPC_FAILED_PRECONDITION,
    GRPC_ABORTED,
    GRPC_OUT_OF_RANGE,
    GRPC_UNIMPLEMENTED,
    GRPC_INTERNAL,
    GRPC_UNAVAILABLE,
    GRPC_DATA_LOSS,
    GRPC_UNAUTHENTICATED,
    GRPC_CODE_MAX
};

/* A sentence, not a log. Percent-encoded and once more in the details it still fits into one
 * HEADERS frame; a longer one is cut between characters. */
#define GRPC_STATUS_MESSAGE_MAX 2048
/* Of the registered detail: type URL and value together. */
#define GRPC_STATUS_DETAIL_MAX 512

/* All details of one, packed. */
#define GRPC_STATUS_DETAILS_MAX (GRPC_STATUS_MESSAGE_MAX + GRPC_STATUS_DETAIL_MAX + 64)

/* In memory of the caller; grpc_status_done() empties it. */
struct grpc_status {
    enum grpc_code code;
    char *message;    /* UTF-8; NULL: none */
    uint8_t *details; /* a google.rpc.Status, packed; NULL: none */
    size_t n_details;
};

/* Never GRPC_UNAVAILABLE, which makes the host ask itself whether the plugin is dying, and never
 * GRPC_CANCELLED, which nobody but the peer can cause. 0 is GRPC_UNKNOWN: it is a failure. */
enum grpc_code grpc_status_code(int error);

/* The status for a failed call. */
void grpc_status_from_fail(const struct fail *fail, struct grpc_status *ret_status);
void grpc_status_set(struct grpc_status *ret_status, enum grpc_code code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Of any content, within the limits above: a code that there is not becomes UNKNOWN, a message is
 * cut, details are left out. */
void grpc_status_copy(const struct grpc_status *status, struct grpc_status *ret_status);
void grpc_status_done(struct grpc_status *status);

/* What goes with a recoverable failure, for the life of the process; its code is then
 * FAILED_PRECONDITION. Copied. */
void grpc_status_set_recoverable_detail(const char *type_url, const void *value, size_t n);

#define CLEANUP_GRPC_STATUS __attribute__((cleanup(grpc_status_done)))
