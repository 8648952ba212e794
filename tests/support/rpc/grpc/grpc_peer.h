/* A gRPC client in the loop of the test, on a socket, by libnghttp2: an HTTP/2 that is not ours,
 * and that refuses what breaks the protocol (the connection is then closed, see grpc_peer_error).
 *
 *     struct grpc_peer *peer = grpc_peer_new(event, path);
 *     struct grpc_call *call = grpc_peer_call(peer, &(struct grpc_request){ .path = "/a.B/C" });
 *     grpc_call_wait(call);
 *     assert_string_equal(grpc_call_header(call, "grpc-status"), "0");
 *
 * Calls are the peer's, and valid until it is freed. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct grpc_peer;
struct grpc_call;

/* Fails the test when it can't connect. */
struct grpc_peer *grpc_peer_new(sd_event *event, const char *path);
/* The same, and answers get no more room than the windows of the start: 64 KiB. */
struct grpc_peer *grpc_peer_new_without_updates(sd_event *event, const char *path);
/* Closes the socket without a word. */
struct grpc_peer *grpc_peer_free(struct grpc_peer *peer);

/* Lets so many bytes of answers come without an update, of a stream and of all; 64 KiB at first. */
void grpc_peer_set_window(struct grpc_peer *peer, int32_t size);
/* Reads nothing from its socket until told. */
void grpc_peer_pause(struct grpc_peer *peer);
void grpc_peer_resume(struct grpc_peer *peer);
/* Says no more, but reads on. */
void grpc_peer_half_close(struct grpc_peer *peer);
void grpc_peer_ping(struct grpc_peer *peer);
unsigned grpc_peer_n_pongs(const struct grpc_peer *peer);
/* The server's end of the connection is closed. */
bool grpc_peer_is_closed(const struct grpc_peer *peer);
/* The server's GOAWAY; -1: none came. */
int grpc_peer_goaway(const struct grpc_peer *peer);
/* What the server did wrong, in libnghttp2's words; NULL: nothing. */
const char *grpc_peer_error(const struct grpc_peer *peer);
/* Runs the loop until the server has closed, or answers false. */
bool grpc_peer_wait_closed(struct grpc_peer *peer);

/* What is NULL is as a gRPC client has it; "" leaves the header out. */
struct grpc_request {
    const char *method, *path, *content_type, *te, *timeout, *encoding;
    const void *body; /* as it is, with length prefixes */
    size_t n_body;
    const ProtobufCMessage *message; /* instead of a body: one message */
    bool open; /* more is to come, see grpc_call_send */
    const char *const *metadata; /* names and values in turn, up to a NULL; at most 8 of them */
};

struct grpc_call *grpc_peer_call(struct grpc_peer *peer, const struct grpc_request *request);
/* `end`: the last of it. */
void grpc_call_send(struct grpc_call *call, const void *body, size_t n, bool end);
void grpc_call_send_message(struct grpc_call *call, const ProtobufCMessage *message, bool end);
/* RST_STREAM with CANCEL. */
void grpc_call_cancel(struct grpc_call *call);

/* Runs the loop until the call is over, or there are so many messages, or fails the test. */
void grpc_call_wait(struct grpc_call *call);
void grpc_call_wait_messages(struct grpc_call *call, size_t n);
bool grpc_call_is_over(const struct grpc_call *call);
/* Runs the loop until all that was to be sent so far is on its way, or the call is over. */
void grpc_call_wait_sent(struct grpc_call *call);
/* What the server's windows have not let out yet. */
size_t grpc_call_n_unsent(const struct grpc_call *call);

/* ""  when there is none (yet). Of headers and trailers together. */
const char *grpc_call_header(const struct grpc_call *call, const char *name);
/* The error code that ended it; 0: it ended well. */
uint32_t grpc_call_error(const struct grpc_call *call);
size_t grpc_call_n_messages(const struct grpc_call *call);
size_t grpc_call_n_bytes(const struct grpc_call *call);
/* Fails the test when it can't be unpacked; to be freed. */
ProtobufCMessage *grpc_call_message(const struct grpc_call *call, size_t i,
                                    const ProtobufCMessageDescriptor *type);

/* Waits, and fails the test when the call did not end with this code and sentence; NULL: none. */
void grpc_call_expect(struct grpc_call *call, int code, const char *message);
