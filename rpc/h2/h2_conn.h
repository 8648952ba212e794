/* The server's side of one HTTP/2 connection (RFC 9113) as a pure state machine: bytes in, events
 * out, bytes pending. No socket, no clock, no log; time is an argument.
 *
 * Owner: server (or a test). Use: put what was received into h2_conn_input(), call
 * h2_conn_process(), then h2_conn_flush(), and send what h2_conn_output() holds. Ask
 * h2_conn_wants_input() before receiving more. When h2_conn_is_done() and the output is empty, the
 * connection is to be closed.
 *
 * Nothing the peer sends trips an assertion. What breaks the rules is answered by RST_STREAM or by
 * GOAWAY, with the error of the RFC. Limits: h2_limits.h. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_codec.h"
#include "rpc/h2/h2_events.h"
#include "rpc/h2/h2_limits.h"

struct h2_conn;

/* Our SETTINGS are in the output at once. */
struct h2_conn *h2_conn_new(const struct h2_conn_events *events, void *data, uint64_t now_usec);
/* on_reset for each stream that is there. Not from inside an event. */
struct h2_conn *h2_conn_free(struct h2_conn *conn);

struct evbuffer *h2_conn_input(struct h2_conn *conn);
struct evbuffer *h2_conn_output(struct h2_conn *conn);
bool h2_conn_wants_input(const struct h2_conn *conn);

/* Handles all whole frames of the input, or fewer if the output is full. */
void h2_conn_process(struct h2_conn *conn, uint64_t now_usec);
/* Moves to the output what windows and H2_OUTPUT_MAX allow. To be called after process(), after
 * on_output, and when the output has been sent. */
void h2_conn_flush(struct h2_conn *conn);

/* Says GOAWAY: no new streams; those that are there may end. */
void h2_conn_shutdown(struct h2_conn *conn);
/* Gives the connection up, with GOAWAY, for a reason that its owner knows; `text` is static. */
void h2_conn_fail(struct h2_conn *conn, enum h2_error error, const char *text);
/* The peer has begun as it must, by preface and SETTINGS. */
bool h2_conn_is_open(const struct h2_conn *conn);
/* Nothing will follow but what is in the output. */
bool h2_conn_is_done(const struct h2_conn *conn);
/* What ended it, for the log: NULL, or static text with *ret_error. */
const char *h2_conn_failure(const struct h2_conn *conn, enum h2_error *ret_error);

size_t h2_conn_n_streams(const struct h2_conn *conn);
/* Of answers that wait for the peer's windows, or for room in the output. */
size_t h2_conn_queued_bytes(const struct h2_conn *conn);
