#include "tasks/exec/exec_scope.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/kernel/file.h"

/* Without cgroup.kill a process may fork while the others are killed; each round takes all that the
 * one before left. */
#define KILL_ROUNDS_MAX 100

/* Numbers that are taken are those of an earlier plugin. */
#define SCOPE_TRIES_MAX 10000

struct exec_scope {
    LIST_ENTRY(exec_scope) entry;
    char *path;
    int fd, pidfd;
    sd_event *event;
    sd_event_source *emptied, *exited;
};

static struct exec_scope *scope_free(struct exec_scope *scope)
{
    LIST_REMOVE(scope, entry);
    scope->emptied = sd_event_source_disable_unref(scope->emptied);
    scope->exited = sd_event_source_disable_unref(scope->exited);
    scope->event = sd_event_unref(scope->event);
    (void)close_fd(scope->fd);
    (void)close_fd(scope->pidfd);
    free(scope->path);
    free(scope);
    return NULL;
}

static int scope_open(sd_event *event, const char *path, struct exec_scopes *scopes,
                      struct exec_scope **ret)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    struct exec_scope *scope = ALLOC_NEW(struct exec_scope);
    scope->event = sd_event_ref(event);
    scope->path = alloc_strdup(path);
    scope->fd = fd;
    scope->pidfd = -EBADF;
    LIST_INSERT_HEAD(scopes, scope, entry);
    *ret = scope;
    return 0;
}

int exec_scope_new(sd_event *event, const char *unit_path, struct exec_scopes *scopes,
                   struct exec_scope **ret)
{
    static unsigned number;

    for (unsigned i = 0; i < SCOPE_TRIES_MAX; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s/exec-%u.scope", unit_path, ++number);
        if (mkdir(path, 0755) == 0)
            return scope_open(event, path, scopes, ret);
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

int exec_scope_fd(const struct exec_scope *scope)
{
    return scope->fd;
}

/* --- killing --------------------------------------------------------------------------------- */

/* How many there were. */
static unsigned kill_listed(int dir_fd)
{
    int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "re") : NULL;
    unsigned n = 0;
    int pid;

    if (file == NULL) {
        (void)close_fd(fd);
        return 0;
    }
    /* 0 stands for one that this namespace has no number for. */
    for (; fscanf(file, "%d", &pid) == 1; n++)
        if (pid > 0)
            (void)kill(pid, SIGKILL);
    (void)fclose(file);
    return n;
}

void exec_scope_kill(const struct exec_scope *scope)
{
    if (file_set(scope->fd, "cgroup.kill", "1") >= 0)
        return;
    for (int i = 0; i < KILL_ROUNDS_MAX && kill_listed(scope->fd) > 0; i++)
        continue;
}

/* --- the end --------------------------------------------------------------------------------- */

static bool is_removed(const struct exec_scope *scope)
{
    return rmdir(scope->path) == 0 || errno != EBUSY;
}

/* Frees it when nothing is left to wait for. */
static void finish(struct exec_scope *scope)
{
    scope->emptied = sd_event_source_disable_unref(scope->emptied);
    if (scope->exited == NULL)
        scope_free(scope);
}

static int on_emptied(sd_event_source *source, const struct inotify_event *event, void *data)
{
    (void)source;
    (void)event;
    if (is_removed(data))
        finish(data);
    return 0;
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct exec_scope *scope = data;
    siginfo_t info;

    (void)source;
    (void)events;
    (void)waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    scope->exited = sd_event_source_disable_unref(scope->exited);
    if (is_removed(scope) || scope->emptied == NULL)
        finish(scope);
    return 0;
}

static void watch_exit(struct exec_scope *scope, int pidfd)
{
    scope->pidfd = pidfd;
    if (pidfd < 0)
        return;
    int r = sd_event_add_io(scope->event, &scope->exited, pidfd, EPOLLIN, on_exited, scope);
    assert(r >= 0);
    (void)sd_event_source_set_description(scope->exited, "exec-scope-child");
}

static void watch_emptied(struct exec_scope *scope)
{
    CLEANUP_FREE char *events = alloc_printf("%s/cgroup.events", scope->path);

    int r = sd_event_add_inotify(scope->event, &scope->emptied, events, IN_MODIFY, on_emptied,
                                 scope);
    if (r < 0)
        log_debug("cannot watch '%s', ignoring: %s", events, strerror(-r));
    else
        (void)sd_event_source_set_description(scope->emptied, "exec-scope");
}

void exec_scope_end(struct exec_scope *scope, int pidfd)
{
    watch_exit(scope, pidfd);
    exec_scope_kill(scope);
    /* Mostly nothing was left. To give a watch up takes the kernel up to 20 ms, and us with it. */
    if (!is_removed(scope)) {
        watch_emptied(scope);
        if (scope->emptied != NULL && !is_removed(scope)) /* it may have been too late */
            return;
    }
    finish(scope);
}

static bool is_scope(const char *name)
{
    return strncmp(name, "exec-", 5) == 0;
}

void exec_scopes_clear(sd_event *event, const char *unit_path, struct exec_scopes *scopes)
{
    DIR *entries = opendir(unit_path);

    if (entries == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s", unit_path, entry->d_name);
        struct exec_scope *scope;
        if (is_scope(entry->d_name) && scope_open(event, path, scopes, &scope) >= 0)
            exec_scope_end(scope, -EBADF);
    }
    (void)closedir(entries);
}

void exec_scopes_done(struct exec_scopes *scopes)
{
    while (!LIST_EMPTY(scopes)) {
        struct exec_scope *scope = LIST_FIRST(scopes);
        (void)rmdir(scope->path);
        scope_free(scope);
    }
}
