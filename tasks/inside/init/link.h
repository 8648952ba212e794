/* The init's end of what tasks/inside/shared/inside_link.h describes. */
#pragma once

#include "tasks/inside/shared/inside_link.h"

/* In memory of the caller; what is not open is negative. */
struct link {
    int socket_fd;
    int fds[INSIDE_LINK_FD_MAX];
};

/* Connects and waits for the go, as long as the plugin lives. Negative errno: it will not come. */
int link_open(struct link *link);
/* The plugin may be gone: then nobody waits for it. */
void link_report(struct link *link, enum inside_link_stage stage, int error);
/* Writes how the command ended. */
void link_put_status(const struct link *link, int wait_status);
