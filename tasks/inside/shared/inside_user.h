/* The user as whom something runs in a container, looked up in the container's own /etc/passwd and
 * /etc/group: the image need not have getent, nor, for a number, the files. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* In memory of the caller; zero-filled is empty. */
struct inside_user {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, without `gid` */
    size_t n_groups;
    char *name, *home, *shell;
};

/* `user`: a name or a number; NULL: root. A number without an entry is that uid with the gid of the
 * same number, home "/"; root needs no entry. To be called with the container's root directory.
 * -ESRCH: there is no such user. */
int inside_user_find(const char *user, struct inside_user *ret);
/* Groups, gid and uid, all of real, effective, saved. */
int inside_user_switch(const struct inside_user *user);
void inside_user_done(struct inside_user *user);
