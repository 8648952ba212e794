/* Where an image lies. A name is a directory: absolute; relative to the task's directory, which it
 * may not lead out of, then to the agent's working directory; else the name of an image that
 * machined knows. */
#pragma once

#include "reactor/bus.h"
#include "reactor/fail.h"

enum image_place {
    IMAGE_FOUND,        /* *ret_path is set */
    IMAGE_ASK_MACHINED, /* no such directory, but it may be a name: machined_find_image() */
};

/* Answers an enum image_place; `ret_path` is heap. -ENOENT, -ENOTDIR, -EACCES...: a path that is no
 * image, with the places that were looked at. */
int image_find(const char *image, const char *task_dir, char **ret_path, struct fail *reterr);

/* The last place: what machined answered. `path` may be NULL with `fail` set. */
int image_take_known(const char *image, const char *path, const struct fail *fail, char **ret_path,
                     struct fail *reterr);
