/* What a D-Bus message says, as text for a golden file:
 *
 *     StartTransientUnit("a.service", "fail", [
 *       ("Type", s "oneshot"),
 *     ], [])
 *
 * Descriptors are told by what they lead to, as in /proc/self/fd. */
#pragma once

#include <systemd/sd-bus.h>

/* Heap. The message may be one that was made and never sent. */
char *bus_text(sd_bus_message *message);
/* A connection to nobody, on which messages can be made. */
sd_bus *bus_text_connection(void);
