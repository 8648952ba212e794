/* Gives one file of a directory that a container can write to into the container's range of users,
 * in a way that can't be led elsewhere: paths are resolved below a descriptor, through no link and
 * no mount, and the owner is changed through a descriptor of the very inode that was looked at.
 *
 * User and group N of the host, below 65536, become BASE + N. What is in the range already, or
 * belongs to another range, stays. So do devices, and files with several names: another name may be
 * outside. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A multiple of USER_RANGE_IDS, not 0, whose range ends below (uid_t)-1, which is no user. */
bool owner_shift_base_is_valid(uid_t base);

/* A directory below `root_fd` ("." for itself), to be read; negative errno. */
int owner_shift_open_dir(int root_fd, const char *path);

/* Both answer negative errno. The entry's type goes to `ret_is_dir`, unless NULL. */
int owner_shift_entry(int dir_fd, const char *name, uid_t base, bool *ret_is_dir);
int owner_shift_fd(int fd, uid_t base);

/* Whether an error says that there is nothing (more) of ours by that name: it went away, became a
 * link, or something is mounted on it. */
bool owner_shift_is_gone(int error);
