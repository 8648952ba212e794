/* Nomad's Driver: requests to the task side and its answers back. Tables for `dispatch`, whose
 * context is the struct driver. */
#pragma once

#include "rpc/grpc/call.h"

/* What the driver is, and what it does not do. */
extern const struct rpc_method driver_info_methods[];

/* What is done with tasks. */
extern const struct rpc_method driver_task_methods[];

/* What is executed in running tasks. */
extern const struct rpc_method driver_exec_methods[];

/* Fingerprint, TaskEvents and TaskStats, held open until the agent goes: one that ends is opened
 * again at once. */
extern const struct rpc_method driver_stream_methods[];

/* Tells grpc_status what a recoverable failure looks like to Nomad. Once a process, before calls
 * are answered: without it every failed StartTask is final. */
void service_driver_register_recoverable(void);

/* Nomad keeps it with the handle; 0 stands for handles from before there were plugins. */
#define SERVICE_DRIVER_HANDLE_VERSION 1

/* What may wait for a peer that does not read, in bytes of one stream. Samples and events beyond it
 * are left out, and the fingerprint is told again when it reads on: none of them is worth
 * memory. */
#define SERVICE_DRIVER_STREAM_BYTES_MAX (64 * 1024)

/* Of each of the two outputs of an ExecTask; the rest is left out. Both fit into one message, and
 * Nomad keeps a few KiB of a check's output. */
#define SERVICE_DRIVER_EXEC_BYTES_MAX (1024 * 1024)

/* Between empty messages to whoever watches an exec, which Nomad's clients take for nothing. Theirs
 * to us come as often. */
#define SERVICE_DRIVER_EXEC_HEARTBEAT_USEC (10 * UINT64_C(1000000))

/* After the result of a command whose input has not been closed. The agent of Nomad 1.11 takes it
 * for a failure of the exec when a message of its user's, like the end of an empty input, comes to
 * a call that is over. */
#define SERVICE_DRIVER_EXEC_LINGER_USEC (250 * UINT64_C(1000))

/* In each direction of an ExecTaskStreaming: above it no more is read until all is out. */
#define SERVICE_DRIVER_EXEC_QUEUED_MAX (256 * 1024)

/* Between samples when the agent does not say: its own default. */
#define SERVICE_DRIVER_STATS_USEC_DEFAULT 1000000

/* Rows: DRIVER_UNARY(StopTask, stop_task, .handle = driver_stop). The messages are named after the
 * method. */
#define DRIVER_PATH "/hashicorp.nomad.plugins.drivers.proto.Driver/"
#define DRIVER_METHOD(kind_, Rpc, rpc, ...)               \
    {                                                     \
        .path = DRIVER_PATH #Rpc,                         \
        .kind = (kind_),                                  \
        .request = &nomad__##rpc##_request__descriptor,   \
        .response = &nomad__##rpc##_response__descriptor, \
        __VA_ARGS__                                       \
    }
#define DRIVER_UNARY(Rpc, rpc, ...) DRIVER_METHOD(RPC_UNARY, Rpc, rpc, __VA_ARGS__)
