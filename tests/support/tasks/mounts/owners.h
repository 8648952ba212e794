/* A directory whose files are kept in a container's range of users, for tests: real files, made and
 * looked at by names below a scratch directory, and an ownership that follows <dir>/root. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/mounts/ownership.h"

#define OWNERS_BASE 1048576u

struct owners {
    char *dir;  /* for the test */
    char *root; /* <dir>/root, what is followed */
    sd_event *event;
    struct ownership *ownership;
    unsigned n_ready;
    bool is_ready, frees_in_ready;
    struct fail fail; /* what `ready` was told */
};

void owners_init(struct owners *f);
void owners_done(struct owners *f);

/* Starts to follow the root, without a fail; `_and_wait`: until it is ready, which must succeed. */
void owners_start(struct owners *f);
void owners_start_and_wait(struct owners *f);
/* Any directories and base. */
int owners_follow_all(struct owners *f, const struct strv *dirs, uid_t base,
                      struct ownership **ret, struct fail *fail);
int owners_follow(struct owners *f, const char *path, uid_t base, struct ownership **ret,
                  struct fail *fail);

/* Below the scratch directory; heap. All others take such a name, and fail the test when what they
 * do fails. What is made belongs to root. */
char *owners_path(const struct owners *f, const char *name);
void owners_make_dir(const struct owners *f, const char *name);
void owners_make_file(const struct owners *f, const char *name);
/* <dir>/<prefix>0 and so on. */
void owners_make_files(const struct owners *f, const char *dir, const char *prefix, unsigned n);
/* root/dir0 and so on, each with a file. */
void owners_make_dirs(const struct owners *f, unsigned n);
/* `mode` 0: as it is. */
void owners_give(const struct owners *f, const char *name, uid_t uid, gid_t gid, mode_t mode);
void owners_move(const struct owners *f, const char *from, const char *to);
/* A tmpfs unless `flags` say otherwise. Mounts are the test's own: nobody else sees them, and they
 * go with the process. */
void owners_mount(const struct owners *f, const char *source, const char *name,
                  unsigned long flags);
void owners_unmount(const struct owners *f, const char *name);

struct stat owners_look(const struct owners *f, const char *name);
void owners_expect(const struct owners *f, const char *name, uid_t uid, gid_t gid);
/* That root's became OWNERS_BASE's; that root's is root's. */
void owners_expect_shifted(const struct owners *f, const char *name);
void owners_expect_untouched(const struct owners *f, const char *name);
/* Of all below the root, so many are in the range. */
unsigned owners_count(const struct owners *f);
void owners_expect_all_shifted(const struct owners *f, unsigned n_at_least);
/* Inotify watches of this process, as the kernel counts them. */
unsigned owners_n_watches(void);

/* Run the loop until it is so, or fail the test. */
void owners_await_shifted(struct owners *f, const char *name);
void owners_await_all_shifted(struct owners *f);
/* Of a child, with status 0. */
void owners_await_exit(struct owners *f, pid_t pid);
/* Handles what is pending; then nothing more must happen. */
void owners_expect_idle(struct owners *f);
