/* Messages from and to bytes, by protobuf-c, which by itself bounds neither the memory nor the
 * depth of what it unpacks. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* The heap that one unpacked message may take: a base for its structs, and a multiple of its size
 * on the wire. A map entry of some 30 bytes costs five times that; a repeated empty string twenty
 * times its two bytes, which nobody sends by the million. */
#define GRPC_MESSAGE_HEAP_BASE     (64 * 1024)
#define GRPC_MESSAGE_HEAP_MULTIPLE 16
#define GRPC_MESSAGE_HEAP_MAX      (32 * 1024 * 1024)
/* The stack that unpacking may take: protobuf-c recurses once a nested message, some 2 KiB each,
 * and a peer could nest a million. */
#define GRPC_MESSAGE_STACK_MAX (512 * 1024)

struct grpc_message;

/* -EBADMSG: not a message of that type. -ENOBUFS: one of the limits above. */
int grpc_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
                        struct grpc_message **ret_message);
struct grpc_message *grpc_message_free(struct grpc_message *message);
const ProtobufCMessage *grpc_message_get(const struct grpc_message *message);
/* Heap that it takes. */
size_t grpc_message_heap_bytes(const struct grpc_message *message);
