#include "tasks/inside/shared/inside_execute.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* As nspawn's, when the image is that of nobody who says otherwise. */
#define EXECUTE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* --- environment ----------------------------------------------------------------------------- */

static size_t name_length(const char *variable)
{
    return strcspn(variable, "=");
}

/* A variable that is there gets the new value and keeps its place. */
static void put(struct strv *environment, const char *variable)
{
    size_t n = name_length(variable);

    for (size_t i = 0; i < environment->n_items; i++) {
        if (name_length(environment->items[i]) != n ||
            memcmp(environment->items[i], variable, n) != 0)
            continue;
        free(environment->items[i]);
        environment->items[i] = alloc_strdup(variable);
        return;
    }
    strv_push(environment, variable);
}

static void put_value(struct strv *environment, const char *name, const char *value)
{
    CLEANUP_FREE char *variable = alloc_printf("%s=%s", name, value);

    put(environment, variable);
}

static bool is_of_pid1(const char *variable)
{
    static const char *const names[] = { "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=",
                                         "LISTEN_FDNAMES=" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

void inside_environment(char *const *base, const struct inside_user *user,
                        const struct strv *environment, struct strv *ret)
{
    put_value(ret, "PATH", EXECUTE_PATH);
    for (; base != NULL && *base != NULL; base++)
        if (!is_of_pid1(*base))
            put(ret, *base);
    put_value(ret, "HOME", user->home);
    put_value(ret, "USER", user->name);
    put_value(ret, "LOGNAME", user->name);
    put_value(ret, "SHELL", user->shell);
    for (size_t i = 0; i < environment->n_items; i++)
        put(ret, environment->items[i]);
}

/* --- execution ------------------------------------------------------------------------------- */

static void execute_script(const char *path, const struct strv *argv, char *const *environment)
{
    CLEANUP(strv_done) struct strv shell = {};

    strv_push(&shell, "/bin/sh");
    strv_push(&shell, path);
    for (size_t i = 1; i < argv->n_items; i++)
        strv_push(&shell, argv->items[i]);
    (void)execve(shell.items[0], shell.items, environment);
}

static int execute_path(const char *path, const struct strv *argv, char *const *environment)
{
    (void)execve(path, argv->items, environment);
    if (errno != ENOEXEC)
        return -errno;
    execute_script(path, argv, environment);
    return -ENOEXEC;
}

static const char *find_path(const struct strv *environment)
{
    for (size_t i = 0; i < environment->n_items; i++)
        if (strncmp(environment->items[i], "PATH=", 5) == 0)
            return environment->items[i] + 5;
    return EXECUTE_PATH;
}

/* Each directory of PATH in turn, as execvp(3): one that is not there, or may not be executed, is
 * passed over, and the latter remembered. */
static int search(const struct strv *argv, const struct strv *environment)
{
    int result = -ENOENT;

    for (const char *at = find_path(environment);; at++) {
        size_t n = strcspn(at, ":");
        CLEANUP_FREE char *path =
                alloc_printf("%.*s%s%s", (int)n, at, n > 0 ? "/" : "", argv->items[0]);
        int r = execute_path(path, argv, environment->items);
        if (r == -EACCES)
            result = r;
        else if (r != -ENOENT && r != -ENOTDIR && r != -ESTALE && r != -ENODEV)
            return r;
        at += n;
        if (*at == '\0')
            return result;
    }
}

int inside_execute(const struct strv *argv, const struct strv *environment)
{
    if (argv->n_items == 0 || argv->items[0][0] == '\0')
        return -ENOENT;
    if (strchr(argv->items[0], '/') != NULL)
        return execute_path(argv->items[0], argv, environment->items);
    return search(argv, environment);
}

int inside_exit_code(int error)
{
    return error == -ENOENT || error == -ENOTDIR ? 127 : 126;
}
