#include "rpc/grpc/grpc_message.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

#include "reactor/alloc.h"

/* What malloc adds to each piece, about. */
#define MALLOC_OVERHEAD 16

struct grpc_message {
    ProtobufCAllocator allocator;
    ProtobufCMessage *message;
    size_t heap_bytes, heap_bytes_max;
    uintptr_t stack_top; /* where unpacking began */
    bool refused;
};

static size_t cost(void *p)
{
    return malloc_usable_size(p) + MALLOC_OVERHEAD;
}

/* The frame's address only measures depth; every nested message allocates, so this sees them
 * all. */
static void *limited_alloc(void *data, size_t size)
{
    struct grpc_message *message = data;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    bool too_deep = message->stack_top - here > GRPC_MESSAGE_STACK_MAX;
    bool too_large = size > message->heap_bytes_max - message->heap_bytes;
    void *p = too_deep || too_large ? NULL : malloc(size);
    if (!p) {
        message->refused = true;
        return NULL;
    }
    message->heap_bytes += cost(p);
    if (message->heap_bytes <= message->heap_bytes_max)
        return p;
    message->heap_bytes -= cost(p);
    message->refused = true;
    free(p);
    return NULL;
}

static void limited_free(void *data, void *p)
{
    struct grpc_message *message = data;
    if (!p)
        return;
    message->heap_bytes -= cost(p);
    free(p);
}

int grpc_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n,
                        struct grpc_message **ret_message)
{
    struct grpc_message *message = ALLOC_NEW(struct grpc_message);
    message->allocator = (ProtobufCAllocator){ limited_alloc, limited_free, message };
    message->stack_top = (uintptr_t)__builtin_frame_address(0);
    message->heap_bytes_max = GRPC_MESSAGE_HEAP_MAX;
    if (n < (GRPC_MESSAGE_HEAP_MAX - GRPC_MESSAGE_HEAP_BASE) / GRPC_MESSAGE_HEAP_MULTIPLE)
        message->heap_bytes_max = GRPC_MESSAGE_HEAP_BASE + n * GRPC_MESSAGE_HEAP_MULTIPLE;
    /* an empty message may have no bytes at all */
    message->message = protobuf_c_message_unpack(type, &message->allocator, n,
                                                 n > 0 ? bytes : (const uint8_t *)"");
    if (message->message) {
        *ret_message = message;
        return 0;
    }
    int r = message->refused ? -ENOBUFS : -EBADMSG;
    grpc_message_free(message);
    return r;
}

struct grpc_message *grpc_message_free(struct grpc_message *message)
{
    if (!message)
        return NULL;
    if (message->message)
        protobuf_c_message_free_unpacked(message->message, &message->allocator);
    free(message);
    return NULL;
}

const ProtobufCMessage *grpc_message_get(const struct grpc_message *message)
{
    return message->message;
}

size_t grpc_message_heap_bytes(const struct grpc_message *message)
{
    return message->heap_bytes;
}
