/* The mount points of a container, made in its image before systemd-nspawn starts. nspawn makes
 * missing ones itself, but can't in a read-only image, and in one that it ID-maps they belong to a
 * user that is in no range (2147483646) and stay.
 *
 * The image is not trusted: its links lead where they lead inside, and nothing is made outside of
 * it, whatever they say. */
#pragma once

#include "reactor/fail.h"
#include "tasks/mounts/binds.h"

/* Each component is looked up from the image's root, because of links, and a job may bind hundreds
 * of paths: so the work grows with the square. Nobody has directories that deep; what lies deeper
 * is left to nspawn. */
#define MOUNT_POINTS_DEPTH_MAX 64

/* Makes the targets of `binds` (a directory where the source is one, else an empty file) and
 * nspawn's own mount points, where they are missing and will not be hidden by what is mounted above
 * them. Theirs is the owner of the image's root, so that they fit into an image that was given to a
 * range of users. Nothing is made in what has no /usr: nspawn refuses it.
 *
 * What is there stays as it is, and where a link leads nowhere or the file system is read-only
 * nothing is made: whether that is wrong, nspawn says. Other errors: -ENOTDIR, -ELOOP, -ENOSPC and
 * their like. */
int mount_points_make(const char *image, const struct binds *binds, struct fail *reterr);
