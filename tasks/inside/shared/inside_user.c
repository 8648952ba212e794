#include "tasks/inside/shared/inside_user.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* NGROUPS_MAX of the kernel. */
#define USER_GROUPS_MAX 65536

/* The fields of a line of passwd(5), of group(5). */
enum { PASSWD_NAME, PASSWD_WORD, PASSWD_UID, PASSWD_GID, PASSWD_GECOS, PASSWD_HOME, PASSWD_SHELL,
       PASSWD_MAX };
enum { GROUP_NAME, GROUP_WORD, GROUP_GID, GROUP_MEMBERS, GROUP_MAX };

/* -1 stands for "no change" in the system's calls. */
static bool parse_id(const char *text, unsigned *ret)
{
    size_t n = strspn(text, "0123456789");
    unsigned long long id = n > 0 && n <= 10 && text[n] == '\0' ? strtoull(text, NULL, 10)
                                                                : UINT_MAX;

    if (id >= UINT_MAX)
        return false;
    *ret = (unsigned)id;
    return true;
}

/* Cuts the line into its fields in place; false when there are fewer. */
static bool split(char *line, char **fields, size_t n_fields)
{
    line[strcspn(line, "\n")] = '\0';
    for (size_t i = 0; i < n_fields; i++) {
        fields[i] = strsep(&line, ":");
        if (fields[i] == NULL)
            return false;
    }
    return true;
}

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

/* --- passwd ---------------------------------------------------------------------------------- */

static bool is_user(const char *wanted, bool is_number, unsigned wanted_id, char **fields)
{
    unsigned id;

    if (strcmp(fields[PASSWD_NAME], wanted) == 0)
        return true;
    return is_number && parse_id(fields[PASSWD_UID], &id) && id == wanted_id;
}

static bool take_entry(char **fields, struct inside_user *user)
{
    if (!parse_id(fields[PASSWD_UID], &user->uid) || !parse_id(fields[PASSWD_GID], &user->gid))
        return false;
    user->name = alloc_strdup(fields[PASSWD_NAME]);
    user->home = alloc_strdup(*fields[PASSWD_HOME] != '\0' ? fields[PASSWD_HOME] : "/");
    user->shell = alloc_strdup(*fields[PASSWD_SHELL] != '\0' ? fields[PASSWD_SHELL] : "/bin/sh");
    return true;
}

static bool find_entry(const char *wanted, struct inside_user *user)
{
    CLEANUP(close_file) FILE *file = fopen("/etc/passwd", "re");
    CLEANUP_FREE char *line = NULL;
    char *fields[PASSWD_MAX];
    size_t size = 0;
    unsigned id = 0;
    bool is_number = parse_id(wanted, &id);

    while (file != NULL && getline(&line, &size, file) >= 0)
        if (split(line, fields, PASSWD_MAX) && is_user(wanted, is_number, id, fields) &&
            take_entry(fields, user))
            return true;
    return false;
}

/* --- groups ---------------------------------------------------------------------------------- */

static bool is_member(char *members, const char *name)
{
    for (char *member; (member = strsep(&members, ",")) != NULL;)
        if (strcmp(member, name) == 0)
            return true;
    return false;
}

static void find_groups(struct inside_user *user)
{
    CLEANUP(close_file) FILE *file = fopen("/etc/group", "re");
    CLEANUP_FREE char *line = NULL;
    char *fields[GROUP_MAX];
    size_t size = 0;
    unsigned gid;

    while (file != NULL && user->n_groups < USER_GROUPS_MAX && getline(&line, &size, file) >= 0) {
        if (!split(line, fields, GROUP_MAX) || !parse_id(fields[GROUP_GID], &gid) ||
            gid == user->gid || !is_member(fields[GROUP_MEMBERS], user->name))
            continue;
        user->groups = alloc_grow(user->groups, user->n_groups + 1, sizeof(*user->groups));
        user->groups[user->n_groups++] = gid;
    }
}

/* --- what others see ------------------------------------------------------------------------- */

static void take_number(const char *name, unsigned id, struct inside_user *user)
{
    user->uid = id;
    user->gid = id;
    user->name = alloc_strdup(name);
    user->home = alloc_strdup(id == 0 ? "/root" : "/");
    user->shell = alloc_strdup("/bin/sh");
}

int inside_user_find(const char *user, struct inside_user *ret)
{
    const char *wanted = user != NULL ? user : "root";
    unsigned id;

    *ret = (struct inside_user){};
    if (!find_entry(wanted, ret)) {
        if (strcmp(wanted, "root") == 0 || strcmp(wanted, "0") == 0)
            take_number("root", 0, ret);
        else if (parse_id(wanted, &id))
            take_number(wanted, id, ret);
        else
            return -ESRCH;
    }
    find_groups(ret);
    return 0;
}

int inside_user_switch(const struct inside_user *user)
{
    if (setgroups(user->n_groups, user->groups) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return -errno;
    return 0;
}

void inside_user_done(struct inside_user *user)
{
    free(user->groups);
    free(user->name);
    free(user->home);
    free(user->shell);
    *user = (struct inside_user){};
}
