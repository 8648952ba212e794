/* Keeps the files in some host directories owned by the user range of a container whose mounts of
 * them can't be ID-mapped: what belongs to user N of the host belongs to BASE + N, so that it looks
 * inside as it would with ID mapping. Whatever is created, moved in or given another owner later
 * (Nomad renders templates and secrets again while the task runs) is followed by inotify.
 *
 * The container can write to these directories, so nothing in them is trusted: entries are opened
 * without following links and without leaving the directory or its file system, and the change is
 * made on that very inode. Other names of files outside (hard links) and devices are left alone.
 *
 * Owner: the task. It keeps nothing: a new plugin simply makes it again. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "reactor/strv.h"

/* So many directories are followed. Deeper or further ones are given to the container once, which
 * is enough for all that is there before the task starts; the task could make any number of them.
 * Each costs some 300 bytes here and an inotify watch of the kernel. */
#define OWNERSHIP_WATCHES_MAX 1024
/* And so many may wait to be walked: a path each. What is beyond is looked for again later. */
#define OWNERSHIP_QUEUE_MAX 4096
/* Entries looked at in one turn of the loop, so that other tasks do not wait for a big tree. */
#define OWNERSHIP_BATCH_MAX 256
/* Events in one second before following stops and the tree is walked again a second later: a task
 * that makes files all day must not keep the plugin busy. */
#define OWNERSHIP_EVENTS_MAX 1000

struct ownership;

/* Called once, from the loop: everything that was there is shifted (`fail` is NULL) or could not
 * be. It may free the ownership. */
typedef void (*ownership_ready_fn)(const struct fail *fail, void *data);

/* `dirs`: absolute host paths, followed through links up to the last component only; copied.
 * `base`: a multiple of 65536. Errors: a directory that can't be opened or watched. */
int ownership_new(sd_event *event, const struct strv *dirs, uid_t base, ownership_ready_fn ready,
                  void *data, struct ownership **ret, struct fail *reterr);
/* Stops following; owners stay as they are. NULL is fine. Answers NULL. */
struct ownership *ownership_free(struct ownership *ownership);
