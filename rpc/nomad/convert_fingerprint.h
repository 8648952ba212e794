/* A fingerprint as the message that the agent takes. One struct a stream: it remembers which
 * attributes were told, because the agent keeps those that a later message leaves out. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "reactor/strv.h"
#include "tasks/driver.h"

struct fingerprint_told {
    struct strv keys;
};

/* Makes the message and gives it to `send` before it returns. An attribute that was told before and
 * is not there any more is told as empty, which removes it. */
void convert_fingerprint(const struct driver_fingerprint *fingerprint,
                         struct fingerprint_told *told,
                         void (*send)(const ProtobufCMessage *message, void *data), void *data);
void fingerprint_told_done(struct fingerprint_told *told);
