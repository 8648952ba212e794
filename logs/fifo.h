/* The ends of a task's log FIFOs: ours, which the task writes to, and Nomad's, which its log
 * collector reads. Who holds which end is told in pump.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"

/* Makes our FIFO, mode 0666 whatever the umask: inside, users other than root open /dev/stdout, and
 * the directory around it keeps the others out. One that is there already is kept with its content.
 * `dir_fd` may be AT_FDCWD. -EEXIST: something else has the name. */
int fifo_make(int dir_fd, const char *path, struct fail *reterr);

/* The end of our FIFO for the task's unit (StandardOutputFileDescriptor=): read-write, so that the
 * task neither waits for a reader nor gets SIGPIPE when the plugin dies, and blocking, because the
 * flag would be shared with the task, whose writes would fail with EAGAIN. The caller owns the
 * descriptor and closes it when systemd has answered. */
int fifo_open_payload(int dir_fd, const char *path, struct fail *reterr);

/* The end of our FIFO that the pump reads: non-blocking. It is opened read-write as well: without a
 * writer a read end would report end of file or POLLHUP all the time. */
int fifo_open_source(int dir_fd, const char *path, struct fail *reterr);

/* A write end of Nomad's FIFO, non-blocking, also while nobody reads it; or /dev/null; or a regular
 * file, at its end. -ENOENT: not there. -EINVAL: of another kind; symbolic links are -ELOOP. */
int fifo_open_target(const char *path, struct fail *reterr);

/* What stands for `path`: /dev/null for NULL and "", itself otherwise. */
const char *fifo_target_path(const char *path);

/* Whether a FIFO's write end has a reader; true for what is no FIFO. */
bool fifo_has_reader(int fd);
/* Whether `path` leads to what `fd` has open. */
bool fifo_is_at(int fd, const char *path);
/* A non-blocking read end of the FIFO that `fd` has open, also when it has no name any more. */
int fifo_reopen_read(int fd);
/* Bytes written and not yet read; 0 for what is no FIFO. */
uint64_t fifo_unread(int fd);
/* Makes a pipe as large as the system allows, at most FIFO_BYTES_MAX; a refusal is ignored, the
 * pipe works as it is. The kernel keeps 40 bytes for each of its pages from then on. */
#define FIFO_BYTES_MAX 1048576
void fifo_enlarge(int fd);
