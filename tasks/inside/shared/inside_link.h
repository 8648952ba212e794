/* How the plugin and the init of a single process talk: once, while the task starts.
 *
 *   init    connects to INSIDE_LINK_SOCKET (SOCK_SEQPACKET)
 *   plugin  sends struct inside_link_go with its descriptors; later, if something is not ready yet
 *   init    installs the filters, switches the user, executes the command, and sends one
 *           struct inside_link_report; both close
 *
 * A plugin that dies before the go lets the init end with INSIDE_LINK_LOST. Afterwards the only
 * thing left between the two is the status file. */
#pragma once

#include <stdint.h>

/* Inside: a directory bound read-only from the task's runtime directory, with the socket, and on
 * it the init itself. Below /run, where nspawn mounts a tmpfs: it leaves nothing in the image. */
#define INSIDE_LINK_DIR    "/run/nomad-driver-nspawn"
#define INSIDE_LINK_SOCKET INSIDE_LINK_DIR "/socket"
#define INSIDE_LINK_INIT   INSIDE_LINK_DIR "/init"

/* Exit code of an init that nobody told what to do. */
#define INSIDE_LINK_LOST 255

/* Descriptors that come with it, in this order. */
enum inside_link_fd {
    INSIDE_LINK_FD_SPEC,    /* inside_spec.h */
    INSIDE_LINK_FD_STATUS,  /* struct inside_link_status is written to its beginning */
    INSIDE_LINK_FD_FILTERS, /* inside_filters.h; left out when nspawn installs its own */
    INSIDE_LINK_FD_MAX
};

#define INSIDE_LINK_VERSION 1

struct inside_link_go {
    uint32_t version;
    uint32_t n_fds;
};

/* Where it failed. */
enum inside_link_stage {
    INSIDE_LINK_STAGE_DONE, /* the command has been executed */
    INSIDE_LINK_STAGE_SPEC,
    INSIDE_LINK_STAGE_FILTERS,
    INSIDE_LINK_STAGE_NOTIFY, /* the socket for the command's sd_notify(3) */
    INSIDE_LINK_STAGE_USER,
    INSIDE_LINK_STAGE_DIRECTORY,
    INSIDE_LINK_STAGE_FORK,
    INSIDE_LINK_STAGE_EXECUTE, /* no failure of the start: the task ends with 126 or 127 */
    INSIDE_LINK_STAGE_MAX
};

struct inside_link_report {
    uint32_t stage;
    int32_t error; /* negative errno; 0 with DONE */
};

/* How the command ended, in a file of the task's runtime directory: the plugin may not be there. */
#define INSIDE_LINK_STATUS_MAGIC 0x74697865 /* "exit" */

struct inside_link_status {
    uint32_t magic;
    int32_t wait_status; /* as of waitpid(2) */
};
