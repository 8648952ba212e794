/* sd_notify(3) for the processes of the container: nspawn listens to PID 1 alone, so they are
 * given a socket of ours, and what nspawn understands goes on to it from here. */
#pragma once

#define RELAY_SOCKET "/run/nomad-driver-nspawn-notify"

/* Binds RELAY_SOCKET, which every user may write to. The descriptor, or negative errno. */
int relay_open(void);
/* Passes on all that has arrived; `target` is the path of nspawn's socket. */
void relay_pass(int fd, const char *target);
