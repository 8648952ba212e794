/* What the process does that the plugin has cloned into a container's pid namespace, until it is
 * the command. Nothing here runs in the plugin itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "reactor/strv.h"

struct exec_child {
    pid_t leader;  /* as the plugin's /proc names it; in the container it is 1 */
    int leader_fd; /* its pidfd */
    int dir_fd;    /* the task's runtime directory */
    int report_fd; /* a SOCK_SEQPACKET socket */
    int fds[3];    /* standard input, output, error; without meaning with a tty */
    bool tty;
    const struct strv *argv;
};

/* What it says: with EXEC_CHILD_TTY comes the master of its terminal; EXEC_CHILD_FAILED is the
 * last. An end of file says that the command has been executed, or that it can't be and standard
 * error has the reason. */
enum exec_child_kind { EXEC_CHILD_TTY, EXEC_CHILD_FAILED };

#define EXEC_CHILD_TEXT_MAX 512

struct exec_child_report {
    uint32_t kind;
    int32_t error; /* negative errno */
    char text[EXEC_CHILD_TEXT_MAX];
};

_Noreturn void exec_child_run(const struct exec_child *child);
