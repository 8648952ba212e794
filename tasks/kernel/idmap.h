/* ID-mapped mounts and the user namespaces that they take. Whether one can be made is found out by
 * trying and never from version numbers; each call tries again, so nothing is stale after a file
 * system was mounted. */
#pragma once

/* A test host with a new kernel plays an old one by this variable in the plugin's environment:
 *   tmpfs  tmpfs can't be ID-mapped (as before Linux 6.3; Nomad's secrets directory is a tmpfs)
 *   all    no file system can be
 * Any other value, and the variable missing, change nothing. */
#define IDMAP_OFF_ENV "NSPAWN_TEST_NO_IDMAP"

/* A user namespace with a range of ids, which lives as long as the descriptor; negative errno.
 * Takes about a millisecond (a child process lives that long). */
int idmap_open_user_namespace(void);

/* Whether what is at `path` can be bound with ID mapping: 0; -EOPNOTSUPP: its file system or the
 * kernel can't; other negative errno: it could not be tried (-ENOENT, -EPERM, ...). */
int idmap_try(const char *path);
