/* The socket at which systemd-nspawn says how far it is (sd_notify(3)): the leader's pid and READY
 * when the payload starts, and the status text of a booted system. It lies in the task's runtime
 * directory and is found by name for each message, so a new plugin binds it again. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"

struct notify_message {
    bool ready;
    pid_t leader;       /* PID 1 inside, as of the host; 0: not said */
    const char *status; /* STATUS; NULL: not said */
};

struct notify;
/* The socket may be freed from here. */
typedef void (*notify_fn)(const struct notify_message *message, void *data);

/* Binds `path` (at most 107 bytes), replacing a socket that is there. */
struct notify *notify_new(sd_event *event, const char *path, notify_fn heard, void *data,
                          struct fail *reterr);
/* Hears at once what has arrived. The callback must not free the socket in here. */
void notify_receive(struct notify *notify);
struct notify *notify_free(struct notify *notify);
