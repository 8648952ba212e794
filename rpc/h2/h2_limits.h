/* What one connection may cost us, each limit with its reason. */
#pragma once

/* An RPC that waits (WaitTask, TaskStats) holds a stream as long as a task runs: two a task, so
 * this is a host of 2000 tasks on one connection. A low limit would starve the call that stops
 * one. */
#define H2_STREAMS_MAX 4096

/* What the peer may send before it must wait for us. Of a stream: a sixteenth of the largest
 * message, so that a message needs few round trips, while a stream nobody reads holds little. Of
 * the connection: several streams at full speed. */
#define H2_STREAM_WINDOW (256 * 1024)
#define H2_CONN_WINDOW   (1024 * 1024)

/* Above this many bytes waiting for the socket nothing more is read or let out: a peer that asks
 * and never reads answers costs this much. */
#define H2_OUTPUT_MAX (256 * 1024)

/* Bytes of answers that wait for the peer's windows, all streams together: room for four of the
 * largest messages. A stream that would exceed it is reset. */
#define H2_QUEUED_MAX (16 * 1024 * 1024)

/* CONTINUATION frames of one header block; honest peers fill each. Empty ones would be free. */
#define H2_CONTINUATIONS_MAX 16

/* Frames that carry nothing of a request (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA,
 * unknown types, anything for closed streams): at once, and a second. An honest peer sends at most
 * two window updates a DATA frame of ours, which are credited, and some pings. */
#define H2_IDLE_FRAMES_BURST      16384
#define H2_IDLE_FRAMES_PER_SECOND 8192

/* Streams that end by a reset, by either side: making us start and drop work is the cheapest attack
 * there is. An agent that goes away may cancel all it has, twice over. */
#define H2_RESETS_BURST      (2 * H2_STREAMS_MAX)
#define H2_RESETS_PER_SECOND 1024
