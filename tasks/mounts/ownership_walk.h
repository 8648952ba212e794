/* The directories that an ownership has still to walk, and how far each was read. The one on top is
 * read, and what is found in it goes on top of it: so a tree of any breadth is walked to its end
 * with a bounded list, and no directory is open between two turns of the loop.
 * In memory of the caller; zero-filled is empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ownership_walk_dir {
    size_t root; /* of the ownership's directories */
    char *path;  /* below it; "." is the root itself */
    off_t position;
    bool was_opened;
    /* Whether directories found in it are walked, too. Not in the first of two readings. */
    bool descends;
    bool is_done;
};

struct ownership_walk {
    struct ownership_walk_dir **dirs;
    size_t n_dirs, n_room;
};

/* Takes the path. False: there is no room, or the path is longer than can be opened. */
bool ownership_walk_push(struct ownership_walk *walk, size_t root, char *path);
/* From here on a directory is left, to be read on later, once one was found in it. */
bool ownership_walk_is_crowded(const struct ownership_walk *walk);
/* The one to be read now; NULL: none is left. Valid until it is done and asked for again. */
struct ownership_walk_dir *ownership_walk_top(struct ownership_walk *walk);
void ownership_walk_clear(struct ownership_walk *walk);

/* "<path>/<name>", without a "." in front; heap. */
char *ownership_walk_join(const char *path, const char *name);

typedef void (*ownership_entry_fn)(const char *name, void *data);

/* Reads on where the last call ended, at most `n_max` entries. After each, `wants_more` says
 * whether to go on. Answers 0 at the directory's end, 1 before it, or negative errno; `ret_n` is
 * set in any case. */
int ownership_walk_read(struct ownership_walk_dir *dir, int fd, size_t n_max,
                        ownership_entry_fn entry, bool (*wants_more)(void *data), void *data,
                        size_t *ret_n);
