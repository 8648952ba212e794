/* What a task in a network of Nomad's finds in /etc/hosts and /etc/resolv.conf. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/network/name_files.h"
#include "tasks/network/network_link.h"
#include "tasks/network/task_network.h"

/* Of a resolv.conf of the host's; what is longer is cut. */
#define RESOLV_BYTES_MAX ((size_t)64 * 1024)

/* Where systemd-resolved writes the servers that it asks itself. */
#define RESOLVED_FILE "/run/systemd/resolve/resolv.conf"

static bool is_bound(const struct task *task, const char *target)
{
    for (size_t i = 0; i < task->dirs.binds.n_items; i++)
        if (strcmp(task->dirs.binds.items[i].target, target) == 0)
            return true;
    return false;
}

/* As a file of the task's runtime directory, bound at `target` unless the job binds its own. */
static int bind_text(struct task *task, const char *name, const char *target, const char *text,
                     struct fail *fail)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", runtime_dir_path(task->dir), name);
    struct nspawn_bind_how how = { .read_only = true };

    if (is_bound(task, target))
        return 0;
    int r = file_write(path, text, strlen(text), 0644);
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot write '%s': %s", path, strerror(-r));
    nspawn_binds_add(&task->dirs.binds, path, target, how);
    return 1;
}

static int name_hosts(struct task *task, struct fail *fail)
{
    struct address addresses[NETWORK_RECORD_FAMILIES] = {};
    const char *hostname = task->config.hostname != NULL ? task->config.hostname : task->machine;
    CLEANUP_CLOSE int fd = open(task->spec.network_path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0 || network_link_read_any(fd, addresses) < 0)
        return fail_set_recoverable(fail, -EIO, "cannot read the addresses in '%s'",
                                    task->spec.network_path);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&addresses[i]))
            addresses[n++] = addresses[i];
    CLEANUP_FREE char *text = name_files_hosts(hostname, addresses, n);
    return bind_text(task, "hosts", "/etc/hosts", text, fail);
}

/* NULL: there is none. */
static char *read_resolv(const char *path)
{
    char *text = NULL;

    (void)file_read_begin(AT_FDCWD, path, 0, RESOLV_BYTES_MAX, &text, NULL);
    return text;
}

static int name_resolver(struct task *task, struct fail *fail)
{
    CLEANUP_FREE char *own = read_resolv("/etc/resolv.conf"), *other = read_resolv(RESOLVED_FILE);
    const char *host = name_files_resolv_of_host(own, other);

    if (host == NULL && !task->spec.has_dns)
        return 0;
    CLEANUP_FREE char *text = name_files_resolv(&task->spec.dns, host);
    int r = bind_text(task, "resolv.conf", "/etc/resolv.conf", text, fail);
    task->has_resolver = r > 0;
    return r;
}

int task_network_name(void *data, struct fail *fail)
{
    struct task *task = data;
    bool is_group = task->plan.kind == NETWORK_GROUP;
    int r = is_group ? name_hosts(task, fail) : 0;

    /* nspawn would take it for the host's network, and give the task the host's resolver. */
    if (r >= 0 && (task->spec.has_dns || (is_group && task->config.resolv_conf == NULL)))
        r = name_resolver(task, fail);
    return r < 0 ? r : 0;
}
