/* The plugin's end of what tasks/inside/shared/inside_link.h describes, and the status file. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "tasks/inside/shared/inside_link.h"

/* Below the task's runtime directory. */
#define INIT_LINK_DIR    "init"   /* what is bound at INSIDE_LINK_DIR */
#define INIT_LINK_STATUS "status" /* struct inside_link_status */

struct init_link;

/* `pid` is that of the init. `report` is NULL when the link broke off without one: the init ended,
 * or, where it was to become the command itself, has done so. */
typedef void (*init_link_done_fn)(pid_t pid, const struct inside_link_report *report, void *data);

/* The init is there and waits, the only process of its container: false puts off its go until
 * init_link_go. */
typedef bool (*init_link_arrived_fn)(pid_t pid, void *data);

/* Makes INIT_LINK_DIR in the directory `dir_path` (with the socket, and an empty file on which the
 * init is bound), and waits for the init. An op: exactly one of `done` and init_link_free ends it.
 * `fds` become its own; that of the filters may be negative. `arrived` may be NULL. */
struct init_link *init_link_new(sd_event *event, const char *dir_path,
                                const int fds[INSIDE_LINK_FD_MAX], init_link_arrived_fn arrived,
                                init_link_done_fn done, void *data, struct fail *reterr);
void init_link_go(struct init_link *link);
/* Hears at once what has arrived, which may end it. */
void init_link_receive(struct init_link *link);
struct init_link *init_link_free(struct init_link *link);

/* For the init to write to; negative errno. */
int init_link_create_status(int dir_fd);
/* As of waitpid(2). -ENODATA: the init has written nothing; or another negative errno. */
int init_link_read_status(int dir_fd, int *ret_wait_status);
