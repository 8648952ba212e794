/* One h2_conn without a socket. Frames are put in; what the connection then tells its user and says
 * to its peer is kept as text, a line each:
 *
 *     told: "request 1 POST /", "data 1 5", "end 1", "reset 1 CANCEL", "drain 1", "output",
 *           "error 1 PROTOCOL_ERROR"
 *     said: "SETTINGS", "SETTINGS ack", "PING ack 12345678", "HEADERS 1", "HEADERS 1 end",
 *           "DATA 1 100", "RST_STREAM 1 CANCEL", "WINDOW_UPDATE 0 100", "GOAWAY 1 NO_ERROR"
 *
 * A failed connection: "GOAWAY 1 PROTOCOL_ERROR". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/h2/h2_conn.h"
#include "rpc/h2/h2_stream.h"

/* Streams with an id from here on are reset at once. */
#define H2_FIXTURE_IDS_MAX 65536

struct h2_fixture {
    struct h2_conn *conn;
    uint64_t now_usec;
    bool holds; /* does not consume the data of requests */
    /* Instead of keeping the stream. */
    void (*on_request)(struct h2_fixture *fixture, struct h2_stream *stream);
    void (*on_data)(struct h2_fixture *fixture, struct h2_stream *stream);
    void (*on_end)(struct h2_fixture *fixture, struct h2_stream *stream);
    /* By id; NULL: not there, or over. */
    struct h2_stream **streams;

    struct evbuffer *told, *said;
    char *taken_told, *taken_said;
    size_t n_out; /* bytes that came out, ever */
};

/* A new connection; its SETTINGS are still in its output. */
void h2_fixture_init(struct h2_fixture *fixture);
/* A connection after the exchange of SETTINGS, with nothing told or said. */
void h2_fixture_init_open(struct h2_fixture *fixture);
void h2_fixture_done(struct h2_fixture *fixture);

/* Into the input. */
void h2_fixture_put(struct h2_fixture *fixture, const void *bytes, size_t n);
void h2_fixture_put_preface(struct h2_fixture *fixture);
void h2_fixture_put_frame(struct h2_fixture *fixture, enum h2_frame_type type, uint8_t flags,
                          uint32_t id, const void *payload, size_t n);
/* "POST http /" with END_HEADERS and further flags. */
void h2_fixture_put_request(struct h2_fixture *fixture, uint32_t id, uint8_t flags);
void h2_fixture_put_window_update(struct h2_fixture *fixture, uint32_t id, uint32_t increment);
void h2_fixture_put_initial_window(struct h2_fixture *fixture, uint32_t size);

/* Processes and flushes as a server does, until all has been said that may be; takes the output. */
void h2_fixture_run(struct h2_fixture *fixture);
/* The same for a peer that does not read: the output stays where it is. */
void h2_fixture_run_unread(struct h2_fixture *fixture);

/* What came since the last time; valid until the next time. */
const char *h2_fixture_told(struct h2_fixture *fixture);
const char *h2_fixture_said(struct h2_fixture *fixture);
/* Lines of what h2_fixture_said would answer that begin like this; does not take them. */
size_t h2_fixture_n_said(struct h2_fixture *fixture, const char *begin);

/* The user's side. Fails the test when there is no such stream. */
struct h2_stream *h2_fixture_stream(struct h2_fixture *fixture, uint32_t id);
void h2_fixture_send(struct h2_fixture *fixture, uint32_t id, size_t n);
/* Trailers: the stream is over for its user. */
void h2_fixture_end(struct h2_fixture *fixture, uint32_t id);
void h2_fixture_reset(struct h2_fixture *fixture, uint32_t id, enum h2_error error);
